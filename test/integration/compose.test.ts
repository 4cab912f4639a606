import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig, VARIABLE_NAMES } from '../../src/config/config.js';
import { freePort } from '../../src/embedded/free-port.js';
import { startSimulator } from '../../src/simulator/simulator.js';
import { builtMain } from '../support/build.js';
import { execute, withDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { client, type Client } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { CannotHappen, waitFor } from '../support/wait-for.js';

const ROOT = resolve(import.meta.dirname, '../..');
const ROLES = ['api', 'worker', 'scheduler'] as const;
const ADMIN_API_KEY = 'an-admin-key-for-compose';
const SECRETS = {
  ADMIN_API_KEY,
  ENCRYPTION_KEY,
  POSTGRES_PASSWORD: 'of-postgres-alone',
  REDIS_PASSWORD: 'of-redis-alone',
};
/** What src/main.ts adds to SHUTDOWN_DEADLINE_SECONDS before it gives up. */
const CLOSING_SECONDS = 10;

interface ComposeService {
  image: string;
  build?: { context: string; args?: Record<string, string> };
  command?: string[];
  environment?: Record<string, string>;
  env_file?: { path: string; required: boolean }[];
  ports?: string[];
  volumes?: string[];
  container_name?: string;
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  stop_grace_period?: string;
  read_only?: boolean;
  tmpfs?: string[];
  cap_drop?: string[];
  cap_add?: string[];
  security_opt?: string[];
  privileged?: boolean;
  user?: string;
}

/** As `docker compose` does it, for the forms that the file uses: `${NAME:-default}` and `${NAME:?message}`. */
function interpolate(text: string, env: Record<string, string>): string {
  return text.replace(/\$\{(\w+)(?::([-?])([^}]*))?\}/g, (_, name: string, form?: string, word?: string) => {
    if (env[name]) return env[name];
    if (form === '?') throw new Error(`required variable ${name} is missing a value: ${word ?? ''}`);
    return word ?? '';
  });
}

function compose(env: Record<string, string>): Record<string, ComposeService> {
  const text = interpolate(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8'), env);
  return (parse(text, { merge: true }) as { services: Record<string, ComposeService> }).services;
}

/** Instructions of the Dockerfile, one a line, in order. */
const instructions = readFileSync(join(ROOT, 'Dockerfile'), 'utf8')
  .replaceAll(/^#.*\n/gm, '')
  .replaceAll(/\\\n\s*/g, '')
  .split('\n')
  .filter((line) => line !== '');

/** The last CMD of the kind, in its exec form. */
function command(pattern: RegExp): string[] {
  const line = instructions.findLast((instruction) => pattern.test(instruction));
  return JSON.parse(line!.slice(line!.indexOf('['))) as string[];
}

describe('docker-compose.yml', () => {
  const services = compose(SECRETS);

  it.each(Object.keys(SECRETS))('wants %s, and says so', (name) => {
    expect(() => compose({ ...SECRETS, [name]: '' })).toThrow(
      new RegExp(`${name} is missing a value: Set it`),
    );
  });

  it('gives the databases passwords, and publishes the port of the api alone', () => {
    const { redis, postgres } = services;
    expect(redis!.command!.slice(0, 3)).toEqual(['redis-server', '--requirepass', SECRETS.REDIS_PASSWORD]);
    expect(redis!.environment).toEqual({ REDISCLI_AUTH: SECRETS.REDIS_PASSWORD });
    expect(postgres!.environment!['POSTGRES_PASSWORD']).toBe(SECRETS.POSTGRES_PASSWORD);
    const published = Object.keys(services).filter((name) => services[name]!.ports !== undefined);
    expect(published).toEqual(['api']);
  });

  it('names exact versions of images, which the environment may pin by digest', () => {
    const images = (env: Record<string, string>) => {
      const { postgres, redis, api } = compose({ ...SECRETS, ...env });
      return [postgres!.image, redis!.image, api!.build!.args!['NODE_IMAGE']!];
    };
    for (const image of images({})) expect(image).toMatch(/^[a-z]+:\d+\.\d+(\.\d+)?(-slim)?$/);
    expect(instructions).toContain(`ARG NODE_IMAGE=${images({})[2]!}`);
    expect(
      instructions
        .filter((line) => line.startsWith('FROM '))
        .every((line) => /^FROM \$\{NODE_IMAGE\}/.test(line)),
    ).toBe(true);
    const pinned = ['a:1@sha256:0', 'b:1@sha256:0', 'c:1@sha256:0'];
    const [POSTGRES_IMAGE, REDIS_IMAGE, NODE_IMAGE] = pinned as [string, string, string];
    expect(images({ POSTGRES_IMAGE, REDIS_IMAGE, NODE_IMAGE })).toEqual(pinned);
  });

  it.each(ROLES)('%s: waits for both databases, and is given time to stop', (role) => {
    const service = services[role]!;
    expect(service.depends_on).toEqual({
      postgres: { condition: 'service_healthy' },
      redis: { condition: 'service_healthy' },
    });
    const seconds = Number(/^(\d+)s$/.exec(service.stop_grace_period!)![1]);
    expect(seconds).toBeGreaterThan(loadConfig({}).shutdownDeadlineMs / 1000 + CLOSING_SECONDS);
  });

  it.each(ROLES)('%s: may do nothing to the machine, and write nothing but /tmp', (role) => {
    const { cap_drop, cap_add, security_opt, read_only, tmpfs, volumes, privileged, user } = services[role]!;
    expect({ cap_drop, cap_add, security_opt, read_only, tmpfs, volumes, privileged, user }).toEqual({
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      read_only: true,
      tmpfs: ['/tmp'],
    });
  });

  it.each(ROLES)('%s: sets only variables that exist, to values that are right', (role) => {
    const { environment } = services[role]!;
    for (const name of Object.keys(environment!)) expect(VARIABLE_NAMES).toContain(name);
    expect(loadConfig(environment!)).toMatchObject({ role, port: 8000, host: '0.0.0.0' });
  });

  it.each([
    ['api', { admin: true, encryption: true }],
    ['worker', { admin: false, encryption: true }],
    ['scheduler', { admin: false, encryption: false }],
  ])('%s: is given the secrets that it needs alone, whatever .env holds', (role, has) => {
    const env = { ...SECRETS, METRICS_TOKEN: 'a-token-for-prometheus', ...services[role]!.environment };
    const { adminApiKey, encryptionKeys, metricsToken } = loadConfig(env);
    expect({ admin: adminApiKey !== null, encryption: encryptionKeys !== null }).toEqual(has);
    expect(metricsToken).toBe('a-token-for-prometheus');
  });

  it('can run any number of each role', () => {
    for (const role of ROLES) expect(services[role]!.container_name).toBeUndefined();
    expect(services['worker']!.ports ?? services['scheduler']!.ports).toBeUndefined();
    expect(services['api']!.ports).toEqual(['8000:8000']);
    expect(compose({ ...SECRETS, API_PORTS: '8000-8002' })['api']!.ports).toEqual(['8000-8002:8000']);
  });

  it('points at the databases beside it', () => {
    const { postgres, redis, worker } = services;
    const database = new URL(worker!.environment!['DATABASE_URL']!);
    expect(database.hostname).toBe('postgres');
    expect(postgres!.environment).toEqual({
      POSTGRES_USER: database.username,
      POSTGRES_PASSWORD: database.password,
      POSTGRES_DB: database.pathname.slice(1),
    });
    expect(worker!.environment!['REDIS_URL']).toBe(`redis://:${SECRETS.REDIS_PASSWORD}@redis:6379`);
    for (const service of [postgres, redis]) expect(service!.healthcheck!.test[0]).toBe('CMD');
  });
});

describe('Dockerfile', () => {
  it('copies only what is there, and what .dockerignore lets through', () => {
    const ignore = readFileSync(join(ROOT, '.dockerignore'), 'utf8').split('\n');
    const copied = instructions
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from'))
      .flatMap((line) => line.split(' ').slice(1, -1));
    expect(copied).toContain('src');
    for (const name of copied) {
      expect(existsSync(join(ROOT, name)), name).toBe(true);
      expect(ignore).toContain(`!${name}`);
    }
  });

  it('ends as an ordinary user', () => {
    const last = instructions.slice(instructions.findLastIndex((line) => line.startsWith('FROM ')));
    expect(last).toContain('USER node');
    expect(last.some((line) => line.startsWith('ENV NODE_ENV=production'))).toBe(true);
  });
});

describe('the command of the image', () => {
  const children: ChildProcess[] = [];
  let folder: string;
  const databaseName = `compose_${process.pid}`;
  const databaseUrl = withDatabase(inject('postgresUrl'), databaseName);
  let redisUrl: string;

  beforeAll(async () => {
    // An image has dist in its working directory, and no .env.
    folder = await mkdtemp(join(tmpdir(), 'posthorn-image-'));
    await symlink(dirname(dirname(await builtMain())), join(folder, 'dist'));
    await execute(inject('postgresUrl'), `create database ${databaseName}`);
    redisUrl = (await freshRedis()).url;
  });
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await execute(inject('postgresUrl'), `drop database ${databaseName} with (force)`);
    rmSync(folder, { recursive: true });
  });

  interface Running extends Client {
    env: Record<string, string>;
    /** SIGTERM, as `docker stop` sends it; gives the exit code, or null if it had to be killed. */
    stop(): Promise<number | null>;
    output(): string;
  }

  /** The container of a role, with this machine's databases in the places of those of the file. */
  async function start(role: (typeof ROLES)[number], extra: Record<string, string> = {}): Promise<Running> {
    const env = {
      ...compose(SECRETS)[role]!.environment!,
      DATABASE_URL: databaseUrl,
      REDIS_URL: redisUrl,
      PORT: String(await freePort()),
      ...extra,
    };
    const [file, ...args] = command(/^CMD /);
    const child = spawn(file!, args, {
      cwd: folder,
      env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.push(child);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (output = (output + chunk.toString()).slice(-20_000)));
    }
    const ended = once(child, 'exit') as Promise<[number | null]>;
    const http = client(`http://127.0.0.1:${env.PORT}`);
    await waitFor(
      async () => {
        if (child.exitCode !== null) throw new CannotHappen(output);
        return (await http.request('GET', '/ready')).status === 200;
      },
      { what: `${role} to be ready` },
    );
    return {
      ...http,
      env,
      output: () => output,
      stop: async () => {
        child.kill('SIGTERM');
        return (await ended)[0];
      },
    };
  }

  function healthcheck(env: Record<string, string>): Promise<number> {
    const [file, ...args] = command(/^HEALTHCHECK /);
    return new Promise((done) => {
      execFile(file!, args, { env: { PATH: process.env['PATH'], ...env } }, (error) => {
        done(error === null ? 0 : Number(error.code));
      });
    });
  }

  it('makes the schema and delivers, with one of each', async () => {
    const simulator = await startSimulator();
    // All at once on an empty database, as compose does it.
    const roles = await Promise.all(ROLES.map((role) => start(role, { ALLOW_TARGET_RANGES: '127.0.0.0/8' })));
    try {
      const [api] = roles;
      const url = `http://127.0.0.1:${api!.env['PORT']}`;
      const tenant = await client(url, ADMIN_API_KEY).request('POST', '/tenants', { name: 'composed' });
      const sender = client(url, tenant.body.api_key);
      await sender.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok` });
      const accepted = await sender.request('POST', '/events', { event_type: 'a.b', payload: { n: 1 } });
      expect(accepted.body, accepted.text).toMatchObject({ deliveries: 1 });
      await simulator.waitFor(1);
      expect(simulator.received[0]!.headers['webhook-id']).toBe(accepted.body.id);
      expect((await api!.request('GET', '/health')).body).toMatchObject({
        status: 'ok',
        info: { workers: { status: 'up', alive: 1 } },
      });
    } finally {
      const codes = await Promise.all(roles.map((role) => role.stop()));
      expect(codes).toEqual([0, 0, 0]);
      await simulator.close();
    }
  });

  it.each(ROLES)('starts the role %s until SIGTERM', async (role) => {
    const running = await start(role);
    expect((await running.request('GET', '/health')).status).toBe(200);
    // It listens on every address, so the metrics want a key.
    expect((await running.request('GET', '/metrics')).status).toBe(401);
    const api = await running.request('POST', '/events', {});
    expect(api.status).toBe(role === 'api' ? 401 : 404);
    expect(await healthcheck(running.env)).toBe(0);
    expect(await running.stop(), running.output()).toBe(0);
    expect(await healthcheck(running.env)).toBe(1);
  });
});
