import { applyDecorators, INestApplication } from '@nestjs/common';
import {
  ApiExtraModels,
  ApiProperty,
  ApiPropertyOptional,
  ApiResponse,
  DocumentBuilder,
  OpenAPIObject,
  SwaggerModule,
} from '@nestjs/swagger';
import type { FastifyInstance } from 'fastify';
import { ProblemCode, PROBLEMS } from '../domain/errors.js';
import { VERSION } from '../domain/version.js';
import { KEY_HOURS } from '../persistence/repositories/idempotent-request.repository.js';
import type { Access } from './access.js';
import { honoursKey, REPEAT_IS_HARMLESS } from './idempotency.js';
import { LOCATION } from './located.js';
import { toOpenApi31 } from './openapi-3-1.js';

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

  @ApiProperty({ example: 'invalid_request', enum: Object.keys(PROBLEMS), enumName: 'ProblemCode' })
  code!: string;

  @ApiPropertyOptional({ type: [FieldErrorResponse] })
  errors?: FieldErrorResponse[];

  @ApiProperty({ example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  request_id!: string;
}

/** Documents the problems that a route may answer with, one response a status; the guard's own are added by itself. */
export function ApiProblems(...codes: ProblemCode[]): ClassDecorator & MethodDecorator {
  return applyDecorators(
    ApiExtraModels(ProblemResponse),
    ...byStatus(codes).map(([status, sameStatus]) => ApiResponse({ status, ...problemResponse(sameStatus) })),
  );
}

function byStatus(codes: readonly ProblemCode[]): [number, ProblemCode[]][] {
  const grouped = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    grouped.set(status, [...(grouped.get(status) ?? []), code]);
  }
  return [...grouped];
}

function problemResponse(codes: readonly ProblemCode[]) {
  return {
    description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join('\n\n'),
    content: {
      'application/problem+json': {
        schema: { $ref: '#/components/schemas/ProblemResponse' },
        examples: Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code) }])),
      },
    },
  };
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

/** Serves Swagger UI at /docs and the document at /docs-json; `access` says whom each route is for, and `serverUrl`
 * where the world reaches it, if that is known. */
export function serveApiDocs(
  app: INestApplication,
  access: ReadonlyMap<string, Access>,
  serverUrl: string | null,
): void {
  // Made when it is first asked for, since only then the routes are known, and once: anybody may ask, as often as
  // they like.
  let document: OpenAPIObject | undefined;
  const made = () => (document ??= documentOf(app, access, serverUrl));
  let json: Buffer | undefined;
  const server = app.getHttpAdapter().getInstance() as FastifyInstance;
  server.get('/docs-json', (_, reply) => {
    json ??= Buffer.from(JSON.stringify(made()));
    return reply.type('application/json').send(json);
  });
  SwaggerModule.setup('docs', app, made, {
    raw: false,
    swaggerOptions: { persistAuthorization: true, displayRequestDuration: true },
  });
}

function documentOf(
  app: INestApplication,
  access: ReadonlyMap<string, Access>,
  serverUrl: string | null,
): OpenAPIObject {
  const document = SwaggerModule.createDocument(
    app,
    new DocumentBuilder()
      .setTitle('Posthorn')
      .setDescription(
        'An open webhook platform: hand it an event once, and it delivers that event, signed, to every ' +
          'subscription that wants it. Authenticate with `Authorization: Bearer KEY` or `X-API-Key: KEY`. What a key ' +
          'needs for a route is its `x-required-scope`; `operator` is the admin key, and `source` no key but the ' +
          'signature that the source wants.',
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
    { operationIdFactory: (_controller, method) => method, extraModels: [ProblemResponse] },
  );
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item as Record<string, DescribedOperation>)) {
      const needed = access.get(`${method.toUpperCase()} ${path}`);
      if (needed) describeAccess(operation, needed);
      if (operation.requestBody) addProblems(operation, BODY_PROBLEMS);
      describeLocation(operation);
      const because = operation[REPEAT_IS_HARMLESS];
      if (needed && honoursKey(method.toUpperCase(), needed, because)) describeKey(operation);
    }
  }
  return toOpenApi31(document, serverUrl ?? '/');
}

type DescribedResponse = Partial<ReturnType<typeof problemResponse>> & { headers?: Record<string, object> };

interface DescribedOperation {
  description?: string;
  security?: unknown[];
  requestBody?: unknown;
  responses: Record<string, DescribedResponse | undefined>;
  'x-required-scope'?: string;
  'x-operator-too'?: true;
  'x-audit-action'?: string;
  [LOCATION]?: string;
  [REPEAT_IS_HARMLESS]?: string;
  parameters?: object[];
}

const REFUSALS = ['ip_not_allowed', 'tenant_suspended', 'insufficient_scope', 'rate_limited'] as const;

/** What the guard may answer instead of the route. */
const GUARD_PROBLEMS: Record<Access['for'], readonly ProblemCode[]> = {
  anybody: ['malformed_request'],
  source: ['signature_invalid', 'not_found', 'tenant_suspended', 'ip_not_allowed', 'rate_limited'],
  operator: ['unauthorized', 'forbidden', 'ip_not_allowed', 'admin_key_not_configured', 'rate_limited'],
  tenant: ['unauthorized', 'forbidden', ...REFUSALS],
  'operator or tenant': ['unauthorized', ...REFUSALS],
};

/** What may be wrong with any body, before a route sees it. */
const BODY_PROBLEMS = ['malformed_json', 'payload_too_large', 'unsupported_media_type'] as const;

/** What may be wrong with an Idempotency-Key. */
const KEY_PROBLEMS = [
  'malformed_request',
  'idempotency_conflict',
  'request_in_progress',
  'answer_not_kept',
  'invalid_request',
  'rate_limited',
] as const;

function describeAccess(operation: DescribedOperation, access: Access): void {
  if (access.for === 'anybody' || access.for === 'source') operation.security = [];
  addProblems(operation, GUARD_PROBLEMS[access.for]);
  if (access.for === 'anybody') return;
  operation['x-required-scope'] = 'scope' in access ? access.scope : access.for;
  if (access.for === 'operator or tenant') operation['x-operator-too'] = true;
  // The audit log has to be written first.
  if (operation['x-audit-action']) addProblems(operation, ['unavailable']);
}

/** Where the answers of a route name what they made. */
function describeLocation(operation: DescribedOperation): void {
  const { [LOCATION]: location, responses } = operation;
  if (location === undefined) return;
  for (const [status, response] of Object.entries(responses)) {
    if (!response || !status.startsWith('2')) continue;
    const description = 'The path of what the answer is about.';
    const header = { description, schema: { type: 'string', example: location } };
    response.headers = { ...response.headers, Location: header };
  }
}

/** How a request is repeated without harm. */
function describeKey(operation: DescribedOperation): void {
  operation.parameters = [
    ...(operation.parameters ?? []),
    {
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      description:
        `Makes a repetition harmless: within ${KEY_HOURS} hours the same request with the same key is answered like ` +
        'the first one that succeeded, and nothing is done again.',
      schema: { type: 'string', minLength: 1, maxLength: 256 },
    },
  ];
  for (const [status, response] of Object.entries(operation.responses)) {
    if (!response || !status.startsWith('2')) continue;
    const description =
      'There, and `true`, where the answer is that to an earlier request with the same key.';
    const header = { description, schema: { type: 'string', enum: ['true'] } };
    response.headers = { ...response.headers, 'Idempotency-Replayed': header };
  }
  addProblems(operation, KEY_PROBLEMS);
}

/** To those that the route itself has with the same status. */
function addProblems({ responses }: DescribedOperation, added: readonly ProblemCode[]): void {
  for (const [status, codes] of byStatus(added)) {
    const present = Object.keys(responses[status]?.content?.['application/problem+json'].examples ?? {});
    responses[status] = problemResponse([...new Set([...(present as ProblemCode[]), ...codes])]);
  }
}
