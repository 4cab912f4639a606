import type { INestApplication } from '@nestjs/common';
import { OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { FastifyInstance } from 'fastify';
import { describeApi } from './api-document.js';

/**
 * Serves Swagger UI at /docs and the document at /docs-json.
 * @param serverUrl where clients reach the service; null where that is not known
 */
export function serveApiDocs(app: INestApplication, serverUrl: string | null): void {
  // Made when it is first asked for, and once, since a client may ask as often as it likes.
  let document: OpenAPIObject | undefined;
  const made = () => (document ??= describeApi(app, serverUrl));
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
