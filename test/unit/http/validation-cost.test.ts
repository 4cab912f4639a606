import { readdirSync } from 'node:fs';
import { getMetadataStorage } from 'class-validator';
import { describe, expect, it } from 'vitest';
import { Problem } from '../../../src/domain/errors.js';
import { MAX_FIELDS, validationPipe } from '../../../src/http/validation.pipe.js';

/**
 * What it costs to check a body before any route sees it, for every DTO and whatever its fields hold. Costs are
 * compared with JSON.parse of the same bytes and within one run, so that it does not matter how fast the machine is.
 */

type Dto = new () => object;
const FOLDER = new URL('../../../src/', import.meta.url);
const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((name) =>
  name.endsWith('.dto.ts'),
);
const modules = (await Promise.all(files.map((name) => import(new URL(name, FOLDER).href)))) as object[];
const fieldsOf = (dto: Dto): string[] => [
  ...new Set(
    getMetadataStorage()
      .getTargetValidationMetadatas(dto, '', true, false)
      .map(({ propertyName }) => propertyName),
  ),
];
const dtos = modules
  .flatMap((module) => Object.values(module) as unknown[])
  .filter((member): member is Dto => typeof member === 'function' && fieldsOf(member as Dto).length > 0)
  // A query has at most 100 parameters, and no members in them.
  .filter(({ name }) => !name.endsWith('Query'));

const list = <T>(length: number, item: (index: number) => T): T[] =>
  Array.from({ length }, (_, index) => item(index));
const object = (size: number, value: unknown = 1): object =>
  Object.fromEntries(list(size, (index) => [`k${index}`, value]));

/** What each field of a body may hold, with so many members in it. */
const SHAPES: [string, (members: number) => unknown][] = [
  ['an object', (members) => object(Math.min(members, MAX_FIELDS))],
  ['objects', (members) => list(members / 100, () => object(99))],
  ['objects of one field', (members) => list(members / 2, () => ({ a: 1 }))],
  ['lists', (members) => list(members, () => [])],
  ['numbers', (members) => list(members, (index) => index)],
  ['texts', (members) => list(members, (index) => `text-${index}`)],
  ['a long text', (members) => 'a.*'.repeat(members)],
];

const MOST = 9_000;

const check = (dto: Dto, text: string) =>
  validationPipe
    .transform(JSON.parse(text), { type: 'body', metatype: dto })
    .catch((error: unknown) => error as Problem);

/** As a multiple of JSON.parse. Of several runs the least counts: what else the machine does only adds. */
async function costOf(dto: Dto, text: string): Promise<number> {
  let [parsed, checked] = [Infinity, Infinity];
  for (let round = 0; round < 4; round++) {
    const start = performance.now();
    JSON.parse(text);
    const between = performance.now();
    await check(dto, text);
    parsed = Math.min(parsed, between - start);
    checked = Math.min(checked, performance.now() - between);
  }
  return checked / parsed;
}

it('knows every DTO', () => {
  expect(dtos.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'SubscriptionDto',
      'SearchDto',
      'CreateTenantDto',
      'CreateSourceDto',
      'CreateApiKeyDto',
    ]),
  );
});

describe.each(dtos.map((dto) => [dto.name, dto] as const))('%s', (_name, dto) => {
  it.each(SHAPES)('costs no more a byte when its fields hold ten times as much: %s', async (_, shape) => {
    const fields = fieldsOf(dto);
    const body = (members: number): string =>
      JSON.stringify(Object.fromEntries(fields.map((field) => [field, shape(members / fields.length)])));
    const [few, many] = [await costOf(dto, body(MOST / 10)), await costOf(dto, body(MOST))];
    expect(many / few).toBeLessThan(4);
    expect(many).toBeLessThan(150);
  });
});
