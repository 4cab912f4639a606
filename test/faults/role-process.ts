import { type ChildProcess, spawn } from 'node:child_process';
import { createWriteStream, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { request } from 'undici';
import { waitFor } from '../support/wait-for.js';

export interface RoleOptions {
  name: string;
  /** The built main.js. */
  main: string;
  port: number;
  /** Where its log is kept. */
  folder: string;
  env: Record<string, string>;
}

/** One role of Posthorn in a process of its own, that can be killed, frozen and given a wrong clock. */
export class RoleProcess {
  readonly url: string;
  private child: ChildProcess | undefined;
  private ended: Promise<unknown> = Promise.resolve();
  private wantsToRun = false;
  /** Rejects when it ends though nobody asked it to. */
  readonly crash: Promise<never>;
  private reportCrash!: (error: Error) => void;

  constructor(private readonly options: RoleOptions) {
    this.url = `http://127.0.0.1:${options.port}`;
    this.crash = new Promise((_, reject) => (this.reportCrash = reject));
    this.crash.catch(() => undefined);
  }

  get name(): string {
    return this.options.name;
  }

  /** Resolves when it is ready. */
  async start(): Promise<void> {
    this.wantsToRun = true;
    const { main, port, folder, env, name } = this.options;
    const child = spawn(process.execPath, ['--import', clockModule(folder), main], {
      cwd: folder,
      env: { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: String(port), ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const log = createWriteStream(this.logFile, { flags: 'a' });
    child.stdout?.pipe(log, { end: false });
    child.stderr?.pipe(log, { end: false });
    this.child = child;
    this.ended = new Promise((resolve) =>
      child.once('exit', (code, signal) => {
        this.child = undefined;
        log.end(`${name} ended: ${signal ?? code ?? ''}\n`);
        if (this.wantsToRun) this.reportCrash(new Error(`${name} ended by itself: ${signal ?? code ?? ''}`));
        resolve(undefined);
      }),
    );
    const ready = waitFor(() => this.isReady(), { what: `${name} to be ready` });
    await Promise.race([ready, this.crash]);
  }

  async kill(): Promise<void> {
    this.wantsToRun = false;
    this.child?.kill('SIGKILL');
    await this.ended;
  }

  /** SIGSTOP; `resume` is SIGCONT. */
  freeze(): void {
    this.child?.kill('SIGSTOP');
  }

  resume(): void {
    this.child?.kill('SIGCONT');
  }

  /** Makes its wall clock wrong by so much; 0 puts it right. */
  async shiftClock(offsetMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.child?.send({ offsetMs }, (error) => (error ? reject(error) : resolve()));
    });
  }

  async isReady(): Promise<boolean> {
    try {
      const { statusCode, body } = await request(`${this.url}/ready`, { headersTimeout: 5_000 });
      await body.dump();
      return statusCode === 200;
    } catch {
      return false;
    }
  }

  lastWords(): string {
    const lines = readFileSync(this.logFile, 'utf8').trim().split('\n').slice(-12);
    return lines.map((line) => line.slice(0, 300)).join('\n');
  }

  private get logFile(): string {
    return join(this.options.folder, `${this.options.name}.log`);
  }
}

/** The clock as JavaScript, which Node can load. */
function clockModule(folder: string): string {
  const path = join(folder, 'shifted-clock.mjs');
  if (existsSync(path)) return path;
  const source = readFileSync(join(import.meta.dirname, 'shifted-clock.ts'), 'utf8');
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
  });
  writeFileSync(path, outputText);
  return path;
}
