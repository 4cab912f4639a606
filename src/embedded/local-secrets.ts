import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';

/**
 * A secret of the embedded service, kept in the file `name` of the data folder (mode 0600): read if it
 * is there, else made, once, however many processes ask at the same time.
 *
 * @throws Error if the file is empty or cannot be read or written
 */
export function localSecret(dataDir: string, name: string, make: () => string): string {
  const path = join(dataDir, name);
  const known = readIfPresent(path);
  if (known !== undefined) return known;

  mkdirSync(dataDir, { recursive: true });
  const unfinished = `${path}.${randomBytes(4).toString('hex')}`;
  writeDurably(unfinished, `${make()}\n`);
  try {
    linkSync(unfinished, path); // unlike a rename, never replaces what another process has just made
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    unlinkSync(unfinished);
  }
  return readFileSync(path, 'utf8').trim();
}

function readIfPresent(path: string): string | undefined {
  try {
    const secret = readFileSync(path, 'utf8').trim();
    if (secret === '') throw new Error(`${path} is empty. Remove it, and the next start makes a new one.`);
    return secret;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
