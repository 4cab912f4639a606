import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Relative to the repository's root, where npm runs its commands. */
export const DOCUMENT = join('docs', 'benchmarks.md');

/**
 * Writes a generated part of a page, that of figures by default: what stands between its two comments. The prose
 * around it is kept.
 * @throws Error when the page has no such part
 */
export function writeSection(name: string, content: string, page = DOCUMENT): void {
  const path = resolve(page);
  writeFileSync(path, withSection(readFileSync(path, 'utf8'), name, content));
}

export function withSection(document: string, name: string, content: string): string {
  const [begin, end] = [`<!-- begin: ${name} -->\n`, `<!-- end: ${name} -->`];
  const [from, to] = [document.indexOf(begin), document.indexOf(end)];
  if (from < 0 || to < from)
    throw new Error(`The page has no section "${name}" between ${begin.trim()} and ${end}.`);
  return `${document.slice(0, from)}${begin}\n${content.trim()}\n\n${document.slice(to)}`;
}
