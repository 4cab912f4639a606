import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { createDatabase } from '../support/database.js';
import { DataFolder } from '../support/process.js';
import { freshRedis } from '../support/redis.js';
import { Rows } from '../support/rows.js';
import { CannotHappen, waitFor } from '../support/wait-for.js';

let folder: DataFolder;
let child: ChildProcess;
let ended: Promise<unknown[]>;
let output: string;

beforeEach(async () => {
  folder = await DataFolder.make();
});
afterEach(async () => {
  child.kill('SIGKILL');
  await ended;
  await folder.remove();
});

async function launch(env: Record<string, string> = {}): Promise<void> {
  child = spawn(process.execPath, [await builtMain()], {
    cwd: folder.path,
    env: { PATH: process.env['PATH'], PORT: '0', DATA_DIR: folder.path, LOG_LEVEL: 'silent', ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  output = '';
  child.stderr!.on('data', (chunk: Buffer) => (output += chunk.toString()));
  ended = once(child, 'exit');
}

const postmaster = (): string => {
  const file = join(folder.path, 'postgres/postmaster.pid');
  return existsSync(file) ? readFileSync(file, 'utf8') : '';
};

/** Processes that work in the data folder: initdb, the postmaster and its children. */
function processesLeft(): string[] {
  const pid = Number.parseInt(postmaster(), 10);
  if (!existsSync('/proc/self/cwd')) return Number.isNaN(pid) ? [] : [String(pid)];
  return readdirSync('/proc').filter((name) => {
    try {
      return /^\d+$/.test(name) && readlinkSync(`/proc/${name}/cwd`).startsWith(folder.path);
    } catch {
      return false; // ended meanwhile
    }
  });
}

const MOMENTS: [what: string, reached: () => boolean][] = [
  ['begins', () => output.includes('Starting the embedded')],
  ['makes the database', () => readdirSync(folder.path).some((name) => name.includes('initdb-'))],
  ['starts PostgreSQL', () => postmaster() !== ''],
  ['migrates', () => postmaster().includes('ready')],
  ['makes the first tenant', () => existsSync(join(folder.path, 'tenant-api-key'))],
  ['is ready', () => output.includes('is ready')],
];

describe('SIGTERM', () => {
  it('right after the process began ends it, and leaves nothing behind', async () => {
    await launch();
    child.kill('SIGTERM');
    await ended;
    expect(processesLeft()).toEqual([]);
  });

  it.each(MOMENTS)(
    'when the service %s ends it soon, with 0, and leaves nothing behind',
    async (what, reached) => {
      await launch();
      await waitFor(reached, { what: `the service, which ${what}` });
      child.kill('SIGTERM');
      expect(await ended, output).toEqual([0, null]);
      expect(processesLeft()).toEqual([]);

      await launch();
      await waitFor(() => output.includes('is ready'), { what: 'the next start' });
      child.kill('SIGTERM');
      expect(await ended, output).toEqual([0, null]);
    },
  );

  it('ends a service that waits for PostgreSQL', async () => {
    await launch({ DATABASE_URL: 'postgres://127.0.0.1:1/nothing', ENCRYPTION_KEY });
    await waitFor(() => output.includes('Waiting for PostgreSQL'), { what: 'the service to wait' });
    child.kill('SIGTERM');
    expect(await ended, output).toEqual([0, null]);
  });
});

describe('a second signal', () => {
  it('changes nothing if it comes with the first, as npm passes Ctrl-C on', async () => {
    await launch();
    await waitFor(() => postmaster() !== '', { what: 'PostgreSQL' });
    child.kill('SIGINT');
    await new Promise(setImmediate);
    child.kill('SIGINT');
    expect(await ended, output).toEqual([0, null]);
    expect(processesLeft()).toEqual([]);
  });
});

describe('a start says', () => {
  const isReady = () =>
    waitFor(
      () => {
        if (child.exitCode !== null) throw new CannotHappen(output);
        return output.includes('Metrics ');
      },
      { what: 'the service to be ready' },
    );

  it('where the keys are that it made itself', async () => {
    await launch();
    await isReady();
    for (const [what, file] of [
      ['API key  ', 'tenant-api-key'],
      ['Operator key', 'admin-api-key'],
      ['Encryption key', 'encryption-key'],
    ] as const) {
      expect(output).toContain(`${what} in ${join(folder.path, file)}`);
    }
    expect(output).not.toContain('plain text');
    child.kill('SIGTERM');
    await ended;

    await launch({ ADMIN_API_KEY: 'an-admin-key-of-my-own', ENCRYPTION_KEY });
    await isReady();
    expect(output).toContain('API key   in');
    expect(output).not.toMatch(/Operator key|Encryption key/);
  });

  it('how many secrets it has encrypted, and in each role only the addresses that it serves', async () => {
    const [database, redis] = [await createDatabase(), await freshRedis()];
    const rows = new Rows(database.url);
    const tenant = await rows.tenant();
    for (let n = 0; n < 3; n++) await rows.subscription(tenant);
    const env = { DATABASE_URL: database.url, REDIS_URL: redis.url, ENCRYPTION_KEY };
    for (const [ROLE, servesApi] of [
      ['worker', false],
      ['scheduler', false],
      ['api', true],
    ] as const) {
      await launch({ ...env, ROLE });
      await isReady();
      expect(output).toMatch(/Health +http:.+\/health\n +Metrics +http:.+\/metrics/);
      expect(/API +http/.test(output), output).toBe(servesApi);
      expect(/Docs +http/.test(output), output).toBe(servesApi);
      expect(output.includes('secrets of 3 subscriptions and sources, which were in plain text')).toBe(
        ROLE === 'worker',
      );
      child.kill('SIGTERM');
      await ended;
    }
    await rows.end();
    await database.drop();
  });
});
