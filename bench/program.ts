import { fork } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** What a program answers to, by name. The arguments and results must be structured-cloneable. */
type Methods = Record<string, (...args: never[]) => unknown>;

interface Call {
  id: number;
  method: string;
  args: never[];
}
interface Reply {
  id: number;
  result?: unknown;
  error?: string;
}
interface Pending {
  resolve: (result: unknown) => void;
  reject: (error: Error) => void;
}

/** How long a program may take to end after SIGTERM. */
const END_MS = 8_000;

const LAST_BYTES = 16 * 1024;

export interface ProgramOptions {
  name: string;
  /** Absolute path of the module to run. */
  module: string;
  /** Receives what it prints. */
  logFile: string;
  execArgv?: string[];
  env?: Record<string, string>;
  cwd?: string;
}

/** A Node process of its own that is asked over IPC. It ends with this process, however this one ends. */
export class Program<M extends Methods = Methods> {
  readonly pid: number;
  private readonly pending = new Map<number, Pending>();
  private lastId = 0;
  private ended = false;

  private constructor(
    private readonly child: ChildProcess,
    private readonly options: ProgramOptions,
  ) {
    this.pid = child.pid ?? 0;
    child.on('message', (reply: Reply) => this.settle(reply));
    child.once('exit', (code, signal) => {
      this.ended = true;
      const end = new Error(`${options.name} ended (${signal ?? code ?? ''}): ${this.lastWords()}`);
      for (const { reject } of this.pending.values()) reject(end);
    });
  }

  static start<M extends Methods = Methods>(options: ProgramOptions): Program<M> {
    const log = openSync(options.logFile, 'a');
    const child = fork(options.module, {
      stdio: ['ignore', log, log, 'ipc'],
      serialization: 'advanced',
      execArgv: options.execArgv ?? [],
      env: { PATH: process.env['PATH'] ?? '', ...options.env },
      ...(options.cwd !== undefined && { cwd: options.cwd }),
    });
    return new Program<M>(child, options);
  }

  get isRunning(): boolean {
    return !this.ended;
  }

  /** @throws Error with what the method threw there, or the last lines the program printed before it ended */
  call<Name extends keyof M & string>(
    method: Name,
    ...args: Parameters<M[Name]>
  ): Promise<Awaited<ReturnType<M[Name]>>> {
    const id = ++this.lastId;
    return new Promise<unknown>((resolve, reject) => {
      this.pending.set(id, { resolve, reject });
      if (this.ended) reject(new Error(`${this.options.name} has ended: ${this.lastWords()}`));
      else this.child.send({ id, method, args } satisfies Call, (error) => error && reject(error));
    }).finally(() => this.pending.delete(id)) as Promise<Awaited<ReturnType<M[Name]>>>;
  }

  async stop(): Promise<void> {
    if (this.ended) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const force = setTimeout(() => this.child.kill('SIGKILL'), END_MS);
    await exit;
    clearTimeout(force);
  }

  lastWords(): string {
    // The log of a long run is larger than a string may be.
    const file = openSync(this.options.logFile, 'r');
    try {
      const end = Buffer.alloc(LAST_BYTES);
      const from = Math.max(fstatSync(file).size - LAST_BYTES, 0);
      const length = readSync(file, end, 0, LAST_BYTES, from);
      return end.toString('utf8', 0, length).trim().split('\n').slice(-8).join('\n');
    } finally {
      closeSync(file);
    }
  }

  private settle({ id, result, error }: Reply): void {
    const waiting = this.pending.get(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(`${this.options.name}: ${error}`));
  }
}

/** The other side: answers the calls of the process that started this one. */
export function answerCalls(methods: Methods): void {
  const answer = async ({ id, method, args }: Call): Promise<void> => {
    try {
      process.send?.({ id, result: await methods[method]?.(...args) } satisfies Reply);
    } catch (error) {
      process.send?.({ id, error: String(error instanceof Error ? error.stack : error) } satisfies Reply);
    }
  };
  process.on('message', (call: Call) => void answer(call));
  // Whoever started this process is gone.
  process.once('disconnect', () => process.exit(1));
}
