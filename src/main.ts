import 'reflect-metadata';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { AppModule } from './app.module.js';
import { Config, InvalidConfig, loadConfig } from './config/config.js';
import { readEnvironment } from './config/environment.js';
import { embeddedKeys, encryptionKeyFile } from './embedded-keys.js';
import { EmbeddedPostgres, startEmbeddedPostgres } from './embedded/embedded-postgres.js';
import { localSecret } from './embedded/local-secrets.js';
import { CONNECTION_BACKLOG } from './http/edge-limits.js';
import { createLogger } from './observability/logger.js';
import { migrate } from './persistence/migrate.js';
import { protectSecrets } from './persistence/secrets-at-rest.js';
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

/** A later second signal ends the process at once; one this soon is npm passing on a Ctrl-C that arrived already. */
const SAME_SIGNAL_MS = 500;

let app: NestFastifyApplication | undefined;
let postgres: EmbeddedPostgres | undefined;
let closingDeadlineMs = CLOSING_MS;
let stoppingSince = 0;

const stopping = new AbortController();
const stopRequested = once(stopping.signal, 'abort');
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, handleSignal);
process.on('unhandledRejection', failAndStop);

try {
  await start();
  if (!checkOnly) await stopRequested;
} catch (error) {
  if (!stopping.signal.aborted) explain(error);
}
stop();
await close(() => app?.close());
await close(() => postgres?.stop());
process.exit();

/** Ends soon after a stop was requested, whatever it is doing then, and leaves in `app` and `postgres` what to close. */
async function start(): Promise<void> {
  const given = loadConfig(readEnvironment());
  closingDeadlineMs += given.shutdownDeadlineMs;
  const isEmbedded = given.databaseUrl === '';
  const config = isEmbedded ? await embed(given) : given;
  const logger = createLogger(config.logLevel, config.role);

  await unlessStopped(migrate(config.databaseUrl, (what) => say(`Waiting for ${what}`)));
  const encrypted = config.encryptionKeys
    ? await unlessStopped(protectSecrets(config.databaseUrl, config.encryptionKeys))
    : 0;
  app = await unlessStopped(createServer(AppModule.forRole(config, logger), config, logger));
  if (isEmbedded) await createFirstTenant(app, config.dataDir);
  if (config.isLoopbackClosedByHost) logger.warn({ host: config.host }, 'targets.loopback_refused');
  await app.listen({ port: config.port, host: config.host, backlog: CONNECTION_BACKLOG });
  say(welcome(given, config, await app.getUrl(), encrypted));
}

async function embed(config: Config): Promise<Config> {
  const dataDir = resolve(config.dataDir);
  say('Starting the embedded PostgreSQL …');
  postgres = await startEmbeddedPostgres({ dataDir, log: say, signal: stopping.signal });
  // First, for it may refuse, and then nothing is to be written.
  const encryptionKeys = config.encryptionKeys ?? (await embeddedKeys(dataDir, postgres.url));
  return config.with({
    databaseUrl: postgres.url,
    dataDir,
    adminApiKey:
      config.allOperatorKeys.length > 0
        ? config.adminApiKey
        : localSecret(dataDir, ADMIN_KEY_FILE, generateApiKey),
    encryptionKeys,
  });
}

/** Somebody who tries Posthorn has a key from the start. */
async function createFirstTenant(server: NestFastifyApplication, dataDir: string): Promise<void> {
  const key = localSecret(dataDir, TENANT_KEY_FILE, generateApiKey);
  await server.get(TenantService, { strict: false }).createFirst('default', key);
}

/** For work that leaves nothing undone when the process ends in the middle of it: a migration is a transaction. */
function unlessStopped<T>(work: Promise<T>): Promise<T> {
  const leave = async (): Promise<never> => {
    await stopRequested;
    throw new Error('a stop was requested');
  };
  return Promise.race([work, leave()]);
}

function handleSignal(): void {
  if (stopping.signal.aborted && performance.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(1);
  stop();
}

/** Says what happened in the error's own words only: what hangs on it may be a password. */
function failAndStop(error: unknown): void {
  const { message } = error as Error;
  const isLogin = /^(WRONGPASS|NOAUTH)/.test(message);
  say(`Posthorn stops: ${message}${isLogin ? '\nCheck the user and password in REDIS_URL.' : ''}`);
  process.exitCode = 1;
  stop();
}

/** From here on the deadline runs, beyond which the process ends with what is left undone. */
function stop(): void {
  if (stopping.signal.aborted) return;
  stoppingSince = performance.now();
  if (app && !checkOnly) say('Posthorn stops when what is in flight is finished …');
  setTimeout(() => process.exit(1), closingDeadlineMs).unref();
  stopping.abort();
}

/** What cannot be closed does not keep the rest from being closed. */
async function close(part: () => Promise<void> | undefined): Promise<void> {
  try {
    await part();
  } catch (error) {
    say(`Posthorn could not stop cleanly: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}

/**
 * @param given as the environment says, beside which the embedded service has made what was missing
 * @param encrypted how many rows had secrets in plain text
 */
function welcome(given: Config, config: Config, url: string, encrypted: number): string {
  const address = url.replace('[::1]', 'localhost').replace('127.0.0.1', 'localhost');
  const servesApi = config.role === 'api' || config.role === 'all';
  const lines = [
    `Posthorn is ready (role ${config.role}, ${config.redisUrl === null ? 'in-process lanes' : 'Bull on Redis'}).`,
    '',
    ...(servesApi
      ? [`  API       ${address}/api/v1`, ...(config.servesDocs ? [`  Docs      ${address}/docs`] : [])]
      : []),
    `  Health    ${address}/health`,
    `  Metrics   ${address}/metrics`,
  ];
  if (given.databaseUrl === '') {
    const keyFiles = [
      `  API key   in ${join(config.dataDir, TENANT_KEY_FILE)} (tenant "default")`,
      given.allOperatorKeys.length === 0 && `  Operator key in ${join(config.dataDir, ADMIN_KEY_FILE)}`,
      given.encryptionKeys === null &&
        `  Encryption key in ${encryptionKeyFile(config.dataDir)}: keep a copy`,
    ];
    lines.push(...keyFiles.filter((line) => line !== false), `  Data      ${config.dataDir}`);
  } else if (config.allOperatorKeys.length === 0 && servesApi) {
    lines.push('', '  No ADMIN_API_KEY is set, so tenants cannot be created.');
  }
  if (config.isLoopbackClosedByHost) {
    lines.push(
      '',
      `  Other machines reach this service (HOST=${config.host}), so subscriptions may not point to localhost.`,
      '  ALLOW_TARGET_RANGES=127.0.0.0/8,::1 lets them.',
    );
  }
  if (encrypted > 0) {
    lines.push(
      '',
      `  Encrypted the secrets of ${encrypted} subscriptions and sources, which were in plain text.`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** For people; logs go to standard output. */
function say(text: string): void {
  process.stderr.write(`${text}\n`);
}

function explain(error: unknown): void {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (error instanceof InvalidConfig) say(message);
  else if (code === 'EADDRINUSE')
    say(`${message}\nAnother program uses this port. Set PORT to a free one: PORT=8001 npm start`);
  else say(`Posthorn could not start: ${process.argv.includes('--debug') ? stack : message}`);
  process.exitCode = 1;
}
