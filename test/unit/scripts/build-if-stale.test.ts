import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, mkdir, mkdtemp, rm, unlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { buildIfStale } from '../../../scripts/build-if-stale.js';

/** In the place of the compiler: copies the source, and says that it ran. */
const COMPILER = `
  const { appendFileSync, copyFileSync, existsSync, mkdirSync } = require('node:fs');
  const outDir = process.argv[process.argv.indexOf('--outDir') + 1];
  appendFileSync('runs', 'x');
  if (existsSync('src/broken.ts')) { console.log('src/broken.ts: a mistake'); process.exit(1); }
  mkdirSync(outDir + '/src', { recursive: true });
  copyFileSync('src/main.ts', outDir + '/src/main.js');
`;
const LOCK = 'node_modules/.cache/posthorn-build.lock';
/** Of no process: larger than any system gives out. */
const DEAD_PID = 2 ** 30;

let root: string;
let said: string[];

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'posthorn build '));
  said = [];
  await write('node_modules/typescript/bin/tsc', COMPILER);
  await write('package.json', '{}');
  await write('src/main.ts', 'first');
  await write('src/deep/er.ts', '');
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const runs = (): number => read('runs').length;
const build = (): Promise<void> => buildIfStale({ root, say: (line) => said.push(line) });
/** A change of the next second, for file systems that keep no finer times. */
async function touch(path: string): Promise<void> {
  const later = new Date(Date.now() + 1_000);
  await utimes(join(root, path), later, later);
}

it('builds what was never built, and says so', async () => {
  await build();
  expect(read('dist/src/main.js')).toBe('first');
  expect(said[0]).toBe('Building Posthorn …');
});

it('builds nothing twice, and is silent then', async () => {
  await build();
  said = [];
  await build();
  expect(runs()).toBe(1);
  expect(said).toEqual([]);
});

const CHANGES: [what: string, change: () => Promise<void>][] = [
  ['a file changed', () => touch('src/main.ts')],
  ['a file deep inside changed', () => touch('src/deep/er.ts')],
  ['a file was removed', () => unlink(join(root, 'src/deep/er.ts')).then(() => touch('src/deep'))],
  ['the packages changed', () => touch('package.json')],
  ['dist is of a build that never ended', () => unlink(join(root, 'dist/.complete'))],
];
it.each(CHANGES)('builds again when %s', async (_what, change) => {
  await build();
  await change();
  await build();
  expect(runs()).toBe(2);
});

it('lets one of many at once build', async () => {
  await Promise.all(Array.from({ length: 8 }, build));
  expect(runs()).toBe(1);
  expect(said.filter((line) => line.startsWith('Building'))).toHaveLength(1);
  expect(said).toContain(`Process ${process.pid} is building Posthorn: waiting for it …`);
});

describe('a build that fails', () => {
  beforeEach(async () => {
    await build();
    await write('src/broken.ts', '');
    await touch('src/broken.ts');
  });

  it('shows what the compiler said, and leaves the last good one', async () => {
    await expect(build()).rejects.toThrow('src/broken.ts: a mistake');
    expect(read('dist/src/main.js')).toBe('first');
  });

  it('leaves neither a lock nor a folder', async () => {
    await expect(build()).rejects.toThrow();
    expect(existsSync(join(root, LOCK))).toBe(false);
    expect(readdirSync(root).filter((name) => name.startsWith('dist'))).toEqual(['dist']);
  });

  it('is made good by the next', async () => {
    await expect(build()).rejects.toThrow();
    await unlink(join(root, 'src/broken.ts'));
    await appendFile(join(root, 'src/main.ts'), ' and second');
    await build();
    expect(read('dist/src/main.js')).toBe('first and second');
  });
});

it('goes on where a build was killed', async () => {
  await write(LOCK, String(DEAD_PID));
  await write(`dist.${DEAD_PID}/src/main.js`, 'half');
  await build();
  expect(read('dist/src/main.js')).toBe('first');
  expect(readdirSync(root).filter((name) => name.startsWith('dist'))).toEqual(['dist']);
});
