import 'reflect-metadata';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { request } from 'undici';
import { AppModule } from '../../src/app.module.js';
import { loadConfig } from '../../src/config/config.js';
import { EDGE_LIMITS, EdgeLimits } from '../../src/http/edge-limits.js';
import { createLogger } from '../../src/observability/logger.js';
import { createServer } from '../../src/server.js';
import { createDatabase } from './database.js';
import { ENCRYPTION_KEY } from './encryption-key.js';

export const ADMIN_KEY = 'admin-key-of-the-tests';

export interface Answer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** The body as it came. */
  text: string;
  /** The body parsed, if it is JSON. */
  body: any;
}

/** Sends requests with one key. */
export interface Client {
  request(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
}

export interface TestTenant extends Client {
  id: string;
  apiKey: string;
}

export interface Posthorn {
  /** http://127.0.0.1:port */
  url: string;
  databaseUrl: string;
  app: NestFastifyApplication;
  admin: Client;
  /** A client that sends no key. */
  anonymous: Client;
  tenant(name?: string): Promise<TestTenant>;
  stop(): Promise<void>;
}

export interface PosthornOptions {
  /** Environment variables, on top of defaults that suit tests. */
  env?: Record<string, string>;
  /** An existing database instead of a fresh one, which is then not dropped. */
  databaseUrl?: string;
  /** Of connections, in the place of those that suit real clients. */
  limits?: Partial<EdgeLimits>;
}

/** Posthorn in this process, on a port and a database of its own; in-process lanes unless REDIS_URL is given. */
export async function startPosthorn(options: PosthornOptions = {}): Promise<Posthorn> {
  const database = options.databaseUrl
    ? { url: options.databaseUrl, drop: () => Promise.resolve() }
    : await createDatabase();
  const config = loadConfig({
    HOST: '127.0.0.1',
    PORT: '0',
    // Counted, and out of reach.
    TENANT_RATE_LIMIT: '1000000',
    TENANT_RATE_BURST: '10000000',
    AUTH_FAILURES_PER_MINUTE: '10000000',
    ADMIN_API_KEY: ADMIN_KEY,
    ENCRYPTION_KEY,
    ALLOW_TARGET_RANGES: '127.0.0.0/8',
    MIN_RETRY_DELAY_SECONDS: '0',
    LOG_LEVEL: 'silent',
    SWEEP_INTERVAL_SECONDS: '0.5',
    SHUTDOWN_DEADLINE_SECONDS: '5',
    DATABASE_POOL_SIZE: '5',
    // The largest: subscribers of a busy machine are not to fail.
    DELIVERY_TIMEOUT_MS: '30000',
    ...options.env,
    DATABASE_URL: database.url,
  });
  const logger = createLogger(config.logLevel, config.role);
  const app = await createServer(AppModule.forRole(config, logger), config, logger, {
    ...EDGE_LIMITS,
    ...options.limits,
  });
  await app.listen(config.port, config.host);
  const url = await app.getUrl();
  const admin = client(url, ADMIN_KEY);
  return {
    url,
    databaseUrl: database.url,
    app,
    admin,
    anonymous: client(url),
    tenant: async (name = 'a tenant') => {
      const { status, body, text } = await admin.request('POST', '/tenants', { name });
      if (status !== 201) throw new Error(`No tenant was made: ${status} ${text}`);
      return { id: body.id, apiKey: body.api_key, ...client(url, body.api_key) };
    },
    stop: async () => {
      await app.close();
      await database.drop();
    },
  };
}

/** @param key sent as a Bearer token; none is sent without it */
export function client(url: string, key?: string): Client {
  return {
    async request(method, path, body, headers = {}) {
      const isApi = !/^\/(?:$|health|ready|metrics|docs)/.test(path);
      const answer = await request(`${url}${isApi ? '/api/v1' : ''}${path}`, {
        method: method as 'GET',
        headers: {
          ...(key !== undefined && { authorization: `Bearer ${key}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && {
          body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body),
        }),
      });
      const text = await answer.body.text();
      return { status: answer.statusCode, headers: answer.headers, text, body: parsed(text) };
    },
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
