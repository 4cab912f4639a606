import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dirname, '../..');

/** What is written for people, as paths from the root. */
export const DOCUMENTS: readonly string[] = [
  'README.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
];

export interface CodeBlock {
  /** `sh`, `ts`, `js`, `diff`, …; empty where the fence says nothing. */
  language: string;
  /** The last line of text before the fence, which may name a file. */
  caption: string;
  code: string;
}

/** A document of this repository, or of one section of it what stands below its heading. */
export function readDocument(path: string, heading?: string): string {
  const text = readFileSync(join(ROOT, path), 'utf8');
  if (heading === undefined) return text;
  const [, section] = text.split(new RegExp(`^## ${heading}\n`, 'm'));
  if (section === undefined) throw new Error(`${path} has no section "${heading}"`);
  return section.split(/^## /m)[0] ?? '';
}

/** The fenced blocks, in order. */
export function codeBlocks(markdown: string): CodeBlock[] {
  const blocks = markdown.matchAll(/^(?<caption>.*)\n+^```(?<language>\w*)\n(?<code>[^]*?)^```$/gm);
  return [...blocks].map(({ groups }) => ({
    language: groups!['language']!,
    caption: groups!['caption']!,
    code: groups!['code']!,
  }));
}

/** The cells of every table row whose first cell is one word of code: `| \`word\` | … |`. */
export function codeRows(markdown: string): string[][] {
  return [...markdown.matchAll(/^\|(.+)\|$/gm)]
    .map(([, row]) => row!.split('|').map((cell) => cell.trim()))
    .filter(([first]) => /^`[^`]+`$/.test(first!))
    .map(([first, ...rest]) => [first!.slice(1, -1), ...rest]);
}
