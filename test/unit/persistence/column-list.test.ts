import { expect, it } from 'vitest';
import { ColumnList } from '../../../src/persistence/column-list.js';

const columns = new ColumnList<{ id: string; text: string | null; count: number | null }>([
  { name: 'id', type: 'uuid', value: ({ id }) => id, isPlain: true },
  { name: 'text', type: 'text', value: ({ text }) => text },
  { name: 'count', type: 'int', value: ({ count }) => count, isPlain: true },
]);

it('names its parameters, columns and values in one order', () => {
  expect(columns.unnest('t', 3)).toBe('unnest($3::uuid[], $4::text[], $5::int[]) as t(id, text, count)');
  expect(columns.length).toBe(3);
  const rows = [
    { id: 'a', text: '{"', count: 1 },
    { id: 'b', text: null, count: null },
  ];
  expect(columns.parameters(rows)).toEqual(['{a,b}', ['{"', null], '{1,NULL}']);
});
