import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { ProblemCode } from '../../domain/errors.js';
import { VERSION } from '../../domain/version.js';
import { OTHER_PROBLEM, otherProblemResponse, problemExamples, ProblemResponse } from './api-problems.js';
import { DescribedOperation, describeOperation, problemsOf } from './described-operation.js';
import { toOpenApi31 } from './openapi-3-1.js';

/**
 * The OpenAPI document of an application, which need not be initialized: the decorators of its controllers say all.
 * @param serverUrl where clients reach it; null where that is not known
 */
export function describeApi(app: INestApplication, serverUrl: string | null): OpenAPIObject {
  const document = SwaggerModule.createDocument(
    app,
    new DocumentBuilder()
      .setTitle('Posthorn')
      .setDescription(
        'An open webhook platform: hand it an event once, and it delivers that event, signed, to every ' +
          'subscription that wants it. Authenticate with `Authorization: Bearer KEY` or `X-API-Key: KEY`. What a key ' +
          'needs for a route is its `x-required-scope`; `operator` is an operator key, and `source` no key but the ' +
          'signature that the source wants.',
      )
      .setVersion(VERSION)
      .addBearerAuth(
        {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'API key',
          description: 'A tenant’s API key, or an operator key.',
        },
        'bearer',
      )
      .addApiKey({ type: 'apiKey', in: 'header', name: 'X-API-Key' }, 'api-key')
      .addSecurityRequirements('bearer')
      .addSecurityRequirements('api-key')
      .build(),
    { operationIdFactory: (_controller, method) => method, extraModels: [ProblemResponse] },
  );
  const codes = new Set<ProblemCode>();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item as Record<string, DescribedOperation>)) {
      describeOperation(operation, method.toUpperCase(), path);
      for (const code of problemsOf(operation)) codes.add(code);
    }
  }
  document.components = {
    ...document.components,
    responses: { [OTHER_PROBLEM]: otherProblemResponse() },
    examples: problemExamples([...codes]),
  };
  return toOpenApi31(document, serverUrl ?? '/');
}
