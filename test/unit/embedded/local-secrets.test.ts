import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { localSecret } from '../../../src/embedded/local-secrets.js';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'posthorn-secrets-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

it('makes a secret once and gives the same ever after', () => {
  const dataDir = join(folder, 'not/yet/there');
  expect(localSecret(dataDir, 'admin-api-key', () => 'first')).toBe('first');
  expect(localSecret(dataDir, 'admin-api-key', () => 'second')).toBe('first');
  expect(localSecret(dataDir, 'other', () => 'second')).toBe('second');
});

it('keeps it in a file that only its owner may read, and leaves nothing else', () => {
  localSecret(folder, 'admin-api-key', () => 'secret');
  expect(statSync(join(folder, 'admin-api-key')).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['admin-api-key']);
});

it('takes the secret of a process that was faster', () => {
  const raced = localSecret(folder, 'key', () => localSecret(folder, 'key', () => 'theirs') && 'ours');
  expect(raced).toBe('theirs');
});

it('accepts a secret written by a person, and refuses an empty file', () => {
  writeFileSync(join(folder, 'key'), '  by hand\n');
  expect(localSecret(folder, 'key', () => 'made')).toBe('by hand');
  writeFileSync(join(folder, 'key'), '\n');
  expect(() => localSecret(folder, 'key', () => 'made')).toThrow('is empty. Remove it');
});
