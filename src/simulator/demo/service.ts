import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { VARIABLE_NAMES } from '../../config/config.js';
import { readEnvironment } from '../../config/environment.js';

export interface Service {
  url: string;
  apiKey: string;
  /** Ends it, if it was started for the demo alone, and removes its data. */
  stop(): Promise<void>;
}

export interface ServiceOptions {
  /** Of a service that must be up; otherwise one at the default address is used if it is. */
  url?: string | undefined;
  apiKey?: string | undefined;
  apiKeyFile?: string | undefined;
  /** Starts one in any case. */
  embedded?: boolean;
}

const DEFAULT_URL = 'http://127.0.0.1:8000';
/** Where `npm start` keeps the key of the first tenant. */
const DEFAULT_KEY_FILE = '.posthorn/tenant-api-key';
const MAIN = resolve(import.meta.dirname, '../../main.js');
const PROBE_TIMEOUT_MS = 2_000;
const START_TIMEOUT_MS = 120_000;

/**
 * The Posthorn to use: the one that was named, else one that is up, else one started for the time of the demo.
 *
 * @throws Error that says what is missing
 */
export async function findService(options: ServiceOptions, say: (text: string) => void): Promise<Service> {
  if (options.embedded) return startEmbedded(say);
  const url = (options.url ?? DEFAULT_URL).replace(/\/+$/, '');
  if (await isReady(url)) {
    say(`Using the Posthorn at ${url}.`);
    return { url, apiKey: await readKey(options, url), stop: () => Promise.resolve() };
  }
  if (options.url !== undefined) throw new Error(`No Posthorn is ready at ${url}.`);
  say(`No Posthorn is ready at ${url}.`);
  return startEmbedded(say);
}

/** Another program may well listen there. */
async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    return ((await response.json()) as { status?: unknown }).status === 'ready';
  } catch {
    return false;
  }
}

async function readKey({ apiKey, apiKeyFile = DEFAULT_KEY_FILE }: ServiceOptions, url: string) {
  if (apiKey !== undefined) return apiKey;
  try {
    return (await readFile(apiKeyFile, 'utf8')).trim();
  } catch (error) {
    throw new Error(
      `The key of a tenant at ${url} is needed, and ${apiKeyFile} cannot be read: give --api-key KEY or --api-key-file FILE, or --embedded to start another Posthorn for the demo.`,
      { cause: error },
    );
  }
}

async function startEmbedded(say: (text: string) => void): Promise<Service> {
  say('Starting one for the time of the demo …');
  const folder = await mkdtemp(join(tmpdir(), 'posthorn-demo-'));
  await chmod(folder, 0o711); // as root, its PostgreSQL runs as another user
  const child = spawn(process.execPath, [MAIN], {
    env: {
      ...readEnvironment(),
      // Nothing that is meant for the user's own service; an empty variable counts as absent.
      ...Object.fromEntries(VARIABLE_NAMES.map((name) => [name, ''])),
      ALLOW_TARGET_RANGES: '127.0.0.0/8,::1', // where an empty value allows none
      DATA_DIR: folder,
      PORT: '0',
      LOG_LEVEL: 'error',
    },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true, // Ctrl-C is for the demo, which then stops it
  });
  // An interruption while it starts.
  process.once('exit', () => child.kill('SIGTERM'));
  const stop = async (): Promise<void> => {
    await end(child);
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  };
  try {
    const port = await printedPort(child);
    const apiKey = (await readFile(join(folder, 'tenant-api-key'), 'utf8')).trim();
    return { url: `http://127.0.0.1:${port}`, apiKey, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** It says where it listens once it is ready. */
function printedPort(child: ChildProcess): Promise<string> {
  return new Promise((resolvePort, reject) => {
    let text = '';
    const fail = (why: string): void => reject(new Error(`The Posthorn for the demo ${why}:\n${text}`));
    const timer = setTimeout(() => fail('did not become ready'), START_TIMEOUT_MS);
    child.stderr?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const port = /:(\d+)\/api\/v1\s/.exec(text)?.[1];
      if (port === undefined) return;
      clearTimeout(timer);
      resolvePort(port);
    });
    child.once('exit', () => {
      clearTimeout(timer);
      fail('ended');
    });
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}
