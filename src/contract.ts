import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { AppModule } from './app.module.js';
import { loadConfig } from './config/config.js';
import { prefixRoutes } from './http/api-prefix.js';
import { describeApi } from './http/openapi/api-document.js';
import { createLogger } from './observability/logger.js';

/**
 * The text of `openapi.json`. Nest's preview mode makes no provider, so that this needs neither a database nor Redis
 * and no setting of this process has a say in it.
 */
export async function contract(): Promise<string> {
  const config = loadConfig({});
  const app = await NestFactory.create(
    AppModule.forRole(config, createLogger('error', config.role)),
    new FastifyAdapter(),
    { preview: true, logger: false, abortOnError: false },
  );
  prefixRoutes(app);
  return `${JSON.stringify(describeApi(app, null), null, 2)}\n`;
}
