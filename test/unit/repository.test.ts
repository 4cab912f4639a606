import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { DOCUMENTS, ROOT } from '../support/markdown.js';

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const filesIn = (folder: string): string[] =>
  readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1));

const FORGE = filesIn('.github');
const YAML = [...FORGE, ...readdirSync(ROOT)].filter((file) => /\.ya?ml$/.test(file));
const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

/** The npm scripts that a text tells its reader, or a shell, to run. */
function scriptsIn(text: string): string[] {
  const run = [...text.matchAll(/\bnpm run (?:-s |--silent )?([a-z][\w:-]*)/g)].map(([, name]) => name!);
  const short = [...text.matchAll(/\bnpm (start|test|stop)\b/g)].map(([, name]) => name!);
  return [...run, ...short];
}

it.each(YAML)('%s is YAML', (file) => {
  expect(parseAllDocuments(read(file)).flatMap(({ errors }) => errors)).toEqual([]);
});

describe('npm scripts', () => {
  const texts = [...DOCUMENTS, ...FORGE, '.ci/run', 'Dockerfile', '.env.example'];

  it.each(texts)('that %s names exist', (file) => {
    expect(scriptsIn(read(file)).filter((name) => scripts[name] === undefined)).toEqual([]);
  });

  it('are all named somewhere', () => {
    const said = new Set([...texts.map(read), ...Object.values(scripts)].flatMap(scriptsIn));
    // The README names these beside one another.
    for (const name of ['format', 'lint', 'types']) said.add(name);
    expect(Object.keys(scripts).filter((name) => !said.has(name))).toEqual([]);
  });
});

it('tests every version of Node that the README promises', () => {
  const [workflow] = parseAllDocuments(read('.github/workflows/ci.yml')).map((one) => one.toJS()) as {
    jobs: { test: { strategy: { matrix: { node: number[] } } } };
  }[];
  const [, promised = ''] = /needs Node (.*?), and nothing else/.exec(read('README.md')) ?? [];
  const majors = [...promised.matchAll(/\b(\d+)(?:\.\d+)?\b/g)].map(([, major]) => Number(major));
  expect(workflow!.jobs.test.strategy.matrix.node).toEqual(majors);
});
