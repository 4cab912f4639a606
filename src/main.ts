import 'reflect-metadata';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { join, resolve } from 'node:path';
import { AppModule } from './app.module.js';
import { Config, InvalidConfig, loadConfig } from './config/config.js';
import { readEnvironment } from './config/environment.js';
import { EmbeddedPostgres, startEmbeddedPostgres } from './embedded/embedded-postgres.js';
import { localSecret } from './embedded/local-secrets.js';
import { createLogger } from './observability/logger.js';
import { migrate } from './persistence/migrate.js';
import { createServer } from './server.js';
import { generateApiKey } from './tenants/api-key.js';
import { TenantService } from './tenants/tenant.service.js';

/** Beyond the time that deliveries in flight are given, for closing connections. */
const CLOSING_MS = 10_000;

/** Files of the embedded service's data folder; each holds a key and is readable by its owner alone. */
const ADMIN_KEY_FILE = 'admin-api-key';
const TENANT_KEY_FILE = 'tenant-api-key';

/** With `--check`, stops as soon as it is ready: proves that this build starts. */
const checkOnly = process.argv.includes('--check');

let app: NestFastifyApplication | undefined;
let postgres: EmbeddedPostgres | undefined;
let stopping = false;

async function start(): Promise<void> {
  let config = loadConfig(readEnvironment());
  const isEmbedded = config.databaseUrl === '';
  if (isEmbedded) config = await embed(config);
  const logger = createLogger(config.logLevel, config.role);

  await migrate(config.databaseUrl, (reason) => say(`Waiting for PostgreSQL: ${reason}`));
  app = await createServer(AppModule.forRole(config, logger), config, logger);
  if (isEmbedded) await createFirstTenant(app, config.dataDir);
  await app.listen(config.port, config.host);
  say(welcome(config, await app.getUrl(), isEmbedded));
  if (checkOnly) await stop(config.shutdownDeadlineMs);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => void stop(config.shutdownDeadlineMs));
  }
}

async function embed(config: Config): Promise<Config> {
  const dataDir = resolve(config.dataDir);
  say('Starting the embedded PostgreSQL …');
  postgres = await startEmbeddedPostgres({ dataDir, log: say });
  return config.with({
    databaseUrl: postgres.url,
    dataDir,
    adminApiKey: config.adminApiKey ?? localSecret(dataDir, ADMIN_KEY_FILE, generateApiKey),
  });
}

/** Somebody who tries Posthorn has a key from the start. */
async function createFirstTenant(server: NestFastifyApplication, dataDir: string): Promise<void> {
  const key = localSecret(dataDir, TENANT_KEY_FILE, generateApiKey);
  await server.get(TenantService, { strict: false }).createFirst('default', key);
}

/** Finishes what is in flight, within the deadline; a second signal, or the deadline, ends the process at once. */
async function stop(deadlineMs: number): Promise<void> {
  if (stopping) process.exit(1);
  stopping = true;
  setTimeout(() => process.exit(1), deadlineMs + CLOSING_MS).unref();
  await app?.close();
  await postgres?.stop();
  process.exit(0);
}

function welcome(config: Config, url: string, isEmbedded: boolean): string {
  const address = url.replace('[::1]', 'localhost').replace('127.0.0.1', 'localhost');
  const lines = [
    `Posthorn is ready (role ${config.role}, ${config.redisUrl === null ? 'in-process lanes' : 'Bull on Redis'}).`,
    '',
    `  API       ${address}/api/v1`,
    `  Docs      ${address}/docs`,
    `  Health    ${address}/health`,
    `  Metrics   ${address}/metrics`,
  ];
  if (isEmbedded) {
    lines.push(
      `  API key   in ${join(config.dataDir, TENANT_KEY_FILE)} (tenant "default")`,
      `  Admin key in ${join(config.dataDir, ADMIN_KEY_FILE)}`,
      `  Data      ${config.dataDir}`,
    );
  } else if (config.adminApiKey === null && config.role !== 'worker' && config.role !== 'scheduler') {
    lines.push('', '  No ADMIN_API_KEY is set, so nobody can create tenants.');
  }
  return `${lines.join('\n')}\n`;
}

/** For people; logs go to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

start().catch(async (error: unknown) => {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (error instanceof InvalidConfig) say(message);
  else if (code === 'EADDRINUSE') say(`${message}\nAnother program uses this port. Set PORT to a free one.`);
  else say(`Posthorn could not start: ${process.argv.includes('--debug') ? stack : message}`);
  await app?.close().catch(() => undefined);
  await postgres?.stop().catch(() => undefined);
  process.exit(1);
});
