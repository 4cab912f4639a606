import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { builtMain } from './build.js';
import { type Client, client } from './posthorn.js';
import { CannotHappen, waitFor } from './wait-for.js';

/** Posthorn as a user runs it: the built main.js in a process of its own, with the embedded Postgres. */
export interface PosthornProcess {
  /** Of the first tenant, whose key the service made itself. */
  tenant: Client;
  pid: number;
  /** http://127.0.0.1:port */
  url: string;
  apiKey: string;
  /** What it has written for people so far. */
  output(): string;
  /** What it has logged so far. */
  log(): string;
  /** kill -9; resolves when it has ended. Its Postgres is left behind. */
  kill(): Promise<void>;
  /** SIGTERM; resolves when it has ended. */
  terminate(): Promise<{ code: number | null; tookMs: number }>;
}

/** The data folder of an embedded service, and the services started on it. */
export class DataFolder {
  private readonly children = new Set<ChildProcess>();

  private constructor(readonly path: string) {
    // A runner that ends early takes nothing else along.
    process.once('exit', this.abort);
  }

  static async make(): Promise<DataFolder> {
    const path = await mkdtemp(join(tmpdir(), 'posthorn-process-'));
    await chmod(path, 0o711); // as root, PostgreSQL runs as another user
    return new DataFolder(path);
  }

  /** @param env on top of a port of its own, silent logs and quick sweeps */
  async start(env: Record<string, string> = {}): Promise<PosthornProcess> {
    const child = spawn(process.execPath, [await builtMain()], {
      cwd: this.path,
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
        DATA_DIR: this.path,
        LOG_LEVEL: 'silent',
        SWEEP_INTERVAL_SECONDS: '0.3',
        MIN_RETRY_DELAY_SECONDS: '0',
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.children.add(child);
    let output = '';
    let log = '';
    child.stdout.on('data', (chunk: Buffer) => (log += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const ended = new Promise<number | null>((resolve) =>
      child.once('exit', (code) => {
        this.children.delete(child);
        resolve(code);
      }),
    );
    const shown = await waitFor(
      () => {
        if (child.exitCode !== null) throw new CannotHappen(`it ended with ${child.exitCode}:\n${output}`);
        return /API +(http:\S+)\/api\/v1/.exec(output)?.[1];
      },
      { what: 'Posthorn to start' },
    );
    const key = (await readFile(join(this.path, 'tenant-api-key'), 'utf8')).trim();
    const url = shown.replace('localhost', '127.0.0.1');
    return {
      tenant: client(url, key),
      pid: child.pid!,
      url,
      apiKey: key,
      output: () => output,
      log: () => log,
      kill: async () => {
        child.kill('SIGKILL');
        await ended;
      },
      terminate: async () => {
        const startedAt = performance.now();
        child.kill('SIGTERM');
        return { code: await ended, tookMs: performance.now() - startedAt };
      },
    };
  }

  /** kill -9 of the embedded Postgres. */
  killPostgres(): void {
    process.kill(this.postmasterPid(), 'SIGKILL');
  }

  async remove(): Promise<void> {
    process.removeListener('exit', this.abort);
    this.abort();
    await rm(this.path, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
  }

  private readonly abort = (): void => {
    for (const child of this.children) child.kill('SIGKILL');
    try {
      process.kill(this.postmasterPid(), 'SIGQUIT'); // immediate shutdown
    } catch {
      // None runs: the file of its process id is gone.
    }
  };

  private postmasterPid(): number {
    return Number.parseInt(readFileSync(join(this.path, 'postgres/postmaster.pid'), 'utf8'), 10);
  }
}
