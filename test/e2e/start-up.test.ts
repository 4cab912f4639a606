import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { DataFolder } from '../support/process.js';
import { waitFor } from '../support/wait-for.js';

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
      const from = performance.now();
      child.kill('SIGTERM');
      expect(await ended, output).toEqual([0, null]);
      expect(performance.now() - from).toBeLessThan(10_000);
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
