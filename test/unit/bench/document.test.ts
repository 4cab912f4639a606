import { expect, it } from 'vitest';
import { withSection } from '../../../bench/document.js';
import { readDocument } from '../../support/markdown.js';

const PAGE = 'Before.\n\n<!-- begin: figures -->\n\nold\n\n<!-- end: figures -->\n\nAfter.\n';

it('replaces a section and nothing else, however often', () => {
  const once = withSection(PAGE, 'figures', 'new\n');
  expect(once).toBe(PAGE.replace('old', 'new'));
  expect(withSection(once, 'figures', 'new\n')).toBe(once);
});

it('does not write what the page has no place for', () => {
  expect(() => withSection(PAGE, 'profile', 'new')).toThrow('no section "profile"');
});

it.each(['figures', 'profile'])('docs/benchmarks.md has a place for the %s', (name) => {
  expect(withSection(readDocument('docs/benchmarks.md'), name, 'here')).toContain('here');
});
