import { applyDecorators, INestApplication } from '@nestjs/common';
import {
  ApiExtraModels,
  ApiProperty,
  ApiPropertyOptional,
  ApiResponse,
  DocumentBuilder,
  SwaggerModule,
} from '@nestjs/swagger';
import { ProblemCode, PROBLEMS } from '../domain/errors.js';
import { VERSION } from '../domain/version.js';

class FieldErrorResponse {
  @ApiProperty({ example: 'event_type' })
  path!: string;

  @ApiProperty({ example: 'must be a string of 1 to 256 characters' })
  message!: string;
}

/** RFC 9457. */
export class ProblemResponse {
  @ApiProperty({ example: 'urn:posthorn:problem:invalid_request' })
  type!: string;

  @ApiProperty({ example: 'The request is not valid' })
  title!: string;

  @ApiProperty({ example: 422 })
  status!: number;

  @ApiProperty({ example: 'event_type: must be a string of 1 to 256 characters' })
  detail!: string;

  @ApiProperty({ example: 'invalid_request', enum: Object.keys(PROBLEMS) })
  code!: string;

  @ApiPropertyOptional({ type: [FieldErrorResponse] })
  errors?: FieldErrorResponse[];

  @ApiProperty({ example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  request_id!: string;
}

/** Documents the problems that a route may answer with, one response a status. */
export function ApiProblems(...codes: ProblemCode[]): ClassDecorator & MethodDecorator {
  const byStatus = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return applyDecorators(
    ApiExtraModels(ProblemResponse),
    ...[...byStatus].map(([status, sameStatus]) =>
      ApiResponse({
        status,
        description: sameStatus.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join('\n\n'),
        content: {
          'application/problem+json': {
            schema: { $ref: '#/components/schemas/ProblemResponse' },
            examples: Object.fromEntries(sameStatus.map((code) => [code, { value: exampleOf(code) }])),
          },
        },
      }),
    ),
  );
}

function exampleOf(code: ProblemCode): Record<string, unknown> {
  const { status, title } = PROBLEMS[code];
  return {
    type: `urn:posthorn:problem:${code}`,
    title,
    status,
    detail: `${title}.`,
    code,
    request_id: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  };
}

/** Whether this is a route of {@link serveApiDocs}: they are Fastify's own, without decorators. */
export function isApiDocs(url = ''): boolean {
  return /^\/docs(?:[-/]|$)/.test(url);
}

/** Serves Swagger UI at /docs and the document at /docs-json. */
export function serveApiDocs(app: INestApplication): void {
  const document = SwaggerModule.createDocument(
    app,
    new DocumentBuilder()
      .setTitle('Posthorn')
      .setDescription(
        'An open webhook platform: hand it an event once, and it delivers that event, signed, to every ' +
          'subscription that wants it. Authenticate with `Authorization: Bearer KEY` or `X-API-Key: KEY`; ' +
          'the tenant routes want the admin key.',
      )
      .setVersion(VERSION)
      .addBearerAuth(
        {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'API key',
          description: 'A tenant’s API key, or the admin key.',
        },
        'bearer',
      )
      .addApiKey({ type: 'apiKey', in: 'header', name: 'X-API-Key' }, 'api-key')
      .addSecurityRequirements('bearer')
      .addSecurityRequirements('api-key')
      .build(),
    { operationIdFactory: (_controller, method) => method },
  );
  SwaggerModule.setup('docs', app, document, {
    jsonDocumentUrl: 'docs-json',
    yamlDocumentUrl: 'docs-yaml',
    swaggerOptions: { persistAuthorization: true, displayRequestDuration: true },
  });
}
