import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VARIABLE_NAMES } from '../../src/config/config.js';
import { DEAD_REASONS } from '../../src/domain/delivery-status.js';
import { PROBLEMS } from '../../src/domain/errors.js';
import { NAMED_POLICIES } from '../../src/domain/retry-policy.js';
import { DEPTH_PROVIDERS } from '../../src/observability/depth-gauges.js';
import { METRIC_PROVIDERS } from '../../src/observability/metrics.js';
import { GENERATORS } from '../clients/generators.js';
import { codeBlocks, codeRows, DOCUMENTS, readDocument, ROOT } from '../support/markdown.js';

/** Read by the tests, Node or npm, and not by Posthorn's configuration. */
const OTHER_VARIABLES = [
  'TEST_REDIS_URL',
  'TEST_DATABASE_URL',
  'WEBHOOK_SECRET',
  'FUZZ_SEED',
  'POSTGRES_PASSWORD',
  'REDIS_PASSWORD',
  'POSTGRES_IMAGE',
  'REDIS_IMAGE',
  'NODE_IMAGE',
];

describe.each(DOCUMENTS)('%s', (document) => {
  const text = readDocument(document);

  it('links to what exists', () => {
    const targets = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, target]) => target!);
    expect(targets.filter((target) => !existsSync(join(ROOT, dirname(document), target)))).toEqual([]);
  });

  it('names files that exist', () => {
    const inExample = new Set(codeBlocks(text).map(({ caption }) => /`(.+)`/.exec(caption)?.[1]));
    const files = [...text.matchAll(/`((?:src|test|migrations|bench|docs)\/[\w./-]+)`/g)].map(
      ([, file]) => file!,
    );
    expect(files.filter((file) => !existsSync(join(ROOT, file)) && !inExample.has(file))).toEqual([]);
  });

  it('names variables that exist', () => {
    const names = [...text.matchAll(/`([A-Z][A-Z\d]*(?:_[A-Z\d]+)+)[=`]/g)].map(([, name]) => name!);
    const known: string[] = [...VARIABLE_NAMES, ...OTHER_VARIABLES];
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
  });
});

describe('docs/api.md', () => {
  const rowsOf = (heading: string) => codeRows(readDocument('docs/api.md', heading));

  it('lists every problem', () => {
    const problems = Object.entries(PROBLEMS).map(([code, { status, title }]) => [
      code,
      String(status),
      title,
    ]);
    expect(
      rowsOf('Errors')
        .map((row) => row.slice(0, 3))
        .toSorted(),
    ).toEqual(problems.toSorted());
  });

  it('lists every reason of a dead letter', () => {
    expect(
      rowsOf('Seeing what became of it')
        .map(([reason]) => reason)
        .toSorted(),
    ).toEqual(DEAD_REASONS.toSorted());
  });

  it('lists every named retry policy', () => {
    const seconds = { s: 1, min: 60, h: 3600 };
    const documented = rowsOf('Retry policies').map(([name, waits, attempts]) => {
      const delays = waits!.split(', ').map((wait) => {
        const [count, unit] = wait.split(' ') as [string, keyof typeof seconds];
        return Number(count) * seconds[unit] * 1000;
      });
      return [name, delays, Number(attempts)];
    });
    expect(documented).toEqual(
      Object.entries(NAMED_POLICIES).map(([name, policy]) => [
        name,
        policy.delaysMs,
        policy.delaysMs.length + 1,
      ]),
    );
  });
});

it.each(GENERATORS)('docs/api.md shows how $name is called', ({ generate }) => {
  expect(readDocument('docs/api.md', 'Generated clients').split('\n')).toContain(generate);
});

describe('docs/operations.md', () => {
  it('explains every metric', () => {
    const documented = codeRows(readDocument('docs/operations.md', 'Metrics')).map(([name]) => name);
    const tokens = [...METRIC_PROVIDERS, ...DEPTH_PROVIDERS].flatMap((provider) =>
      'provide' in provider ? [String(provider.provide)] : [],
    );
    expect(documented.toSorted()).toEqual(
      tokens.map((token) => token.replace(/^PROM_METRIC_/i, '').toLowerCase()).toSorted(),
    );
  });
});

describe('docs/decisions/0012-dependencies.md', () => {
  it('gives every package its reason', () => {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
    const [runtime = '', development = ''] = readDocument(
      'docs/decisions/0012-dependencies.md',
      'Decision',
    ).split('| package, for development');
    const packages = (table: string) =>
      [...table.matchAll(/^\| (`.+?) *\|/gm)].flatMap(([, cell]) =>
        [...cell!.matchAll(/`(.+?)`/g)].map(([, name]) => name!),
      );
    expect(packages(runtime).toSorted()).toEqual(Object.keys(manifest.dependencies).toSorted());
    expect(packages(development).toSorted()).toEqual(Object.keys(manifest.devDependencies).toSorted());
  });
});
