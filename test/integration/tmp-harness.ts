import { Global, Module, type DynamicModule } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { TypeOrmModule } from '@nestjs/typeorm';
import { pino } from 'pino';
import { Config, loadConfig } from '../../src/config/config.js';
import { AuthGuard } from '../../src/http/auth.guard.js';
import { acceptJson } from '../../src/http/json-body.js';
import { ProblemFilter } from '../../src/http/problem.filter.js';
import { requestId } from '../../src/http/request-id.js';
import { serveApiDocs } from '../../src/http/api-docs.js';
import { validationPipe } from '../../src/http/validation.pipe.js';
import { LOGGER } from '../../src/observability/logger.js';
import { ChangeFeed } from '../../src/persistence/change-feed.js';
import { dataSourceOptions } from '../../src/persistence/data-source.js';
import { Database } from '../../src/persistence/database.js';
import { ApiKeyEntity } from '../../src/persistence/entities/api-key.entity.js';
import { SubscriptionEntity } from '../../src/persistence/entities/subscription.entity.js';
import { TenantEntity } from '../../src/persistence/entities/tenant.entity.js';
import { KeyCache } from '../../src/persistence/key-cache.js';
import { ApiKeyRepository } from '../../src/persistence/repositories/api-key.repository.js';
import { SubscriptionRepository } from '../../src/persistence/repositories/subscription.repository.js';
import { TenantRepository } from '../../src/persistence/repositories/tenant.repository.js';
import { SubscriptionCache } from '../../src/persistence/subscription-cache.js';
import { LaneScheduler } from '../../src/queue/lane-scheduler.js';
import { SubscriptionModule } from '../../src/subscriptions/subscription.module.js';
import { TenantModule } from '../../src/tenants/tenant.module.js';
import { createDatabase } from '../support/database.js';

class NoLanes extends LaneScheduler {
  async wake() {}
  async serve() {}
  async stop() {}
  async isHealthy() {
    return true;
  }
  async depth() {
    return 0;
  }
}
@Global()
@Module({})
class Infra {
  static for(config: Config): DynamicModule {
    const providers = [
      { provide: Config, useValue: config },
      { provide: LOGGER, useValue: pino({ level: process.env['LOG_LEVEL'] ?? 'silent' }) },
      { provide: LaneScheduler, useClass: NoLanes },
      Database,
      ChangeFeed,
      KeyCache,
      SubscriptionCache,
      ApiKeyRepository,
      SubscriptionRepository,
      TenantRepository,
    ];
    return {
      module: Infra,
      imports: [
        TypeOrmModule.forRoot(dataSourceOptions(config.databaseUrl, 5)),
        TypeOrmModule.forFeature([TenantEntity, ApiKeyEntity, SubscriptionEntity]),
      ],
      providers,
      exports: providers,
    };
  }
}
export async function startPosthorn(env: Record<string, string | undefined> = {}) {
  const adminKey = 'admin-key-0123456789';
  const database = await createDatabase();
  const config = loadConfig({ DATABASE_URL: database.url, ADMIN_API_KEY: adminKey, ...env });
  @Module({
    imports: [Infra.for(config), SubscriptionModule, TenantModule],
    providers: [
      { provide: APP_GUARD, useClass: AuthGuard },
      { provide: APP_FILTER, useClass: ProblemFilter },
    ],
  })
  class App {}
  const adapter = new FastifyAdapter({ genReqId: requestId });
  const app = await NestFactory.create<NestFastifyApplication>(App, adapter, {
    logger: ['error'],
    bodyParser: false,
    abortOnError: false,
  });
  acceptJson(adapter.getInstance());
  app.setGlobalPrefix('api/v1');
  app.useGlobalPipes(validationPipe);
  serveApiDocs(app);
  app.enableShutdownHooks();
  await app.listen(0, '127.0.0.1');
  const url = (await app.getUrl()).replace('[::1]', '127.0.0.1');
  const as = (key?: string) => async (method: string, path: string, body?: unknown) => {
    const response = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: {
        ...(key && { authorization: `Bearer ${key}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
  };
  return {
    url,
    adminKey,
    databaseUrl: database.url,
    app,
    as,
    async tenant() {
      const { body } = await as(adminKey)('POST', '/tenants', { name: 'A tenant' });
      return { id: body.id as string, api_key: body.api_key as string, request: as(body.api_key) };
    },
    async stop() {
      await app.close();
      await database.drop();
    },
  };
}
