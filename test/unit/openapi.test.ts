import { Ajv2020 } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../support/markdown.js';
import type { Document } from '../support/openapi.js';

/** What stands there is a value of the API, which may look like anything. */
const HOLD_VALUES = new Set(['example', 'default', 'value']);

/** What clients are generated from: see contract.test.ts, which compares the file with the code. */
const document = JSON.parse(readFileSync(join(ROOT, 'openapi.json'), 'utf8')) as Document;

/** A part of the document with the way to it, as a JSON pointer (RFC 6901). */
type Part = [pointer: string, value: Record<string, unknown>];

const parts = [...partsOf('', document)];
const schemas = parts.filter(([pointer]) => isSchema(pointer));
const operations = Object.values(document.paths).flatMap((item) => Object.values(item));

function* partsOf(pointer: string, node: unknown): Generator<Part> {
  if (typeof node !== 'object' || node === null) return;
  if (!Array.isArray(node)) yield [pointer, node as Record<string, unknown>];
  const namesAreKeywords = !/\/(?:properties|responses)$/.test(pointer);
  for (const [name, value] of Object.entries(node)) {
    if (namesAreKeywords && HOLD_VALUES.has(name)) continue;
    yield* partsOf(`${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`, value);
  }
}

function isSchema(pointer: string): boolean {
  return (
    /\/(?:schema|items|additionalProperties)$|\/(?:allOf|anyOf|oneOf)\/\d+$/.test(pointer) ||
    /\/properties\/[^/]+$|^\/components\/schemas\/[^/]+$/.test(pointer)
  );
}

describe('every example and default', () => {
  const ajv = addFormats.default(new Ajv2020({ strict: false, allErrors: true }));
  ajv.addSchema(document, 'openapi');
  const faultsOf = (pointer: string, value: unknown): string[] => {
    const validate = ajv.getSchema(`openapi#${encodeURI(pointer)}`)!;
    return validate(value) ? [] : validate.errors!.map((e) => `${pointer}${e.instancePath} ${e.message}`);
  };

  it.each(['example', 'default'])('of a schema is what the schema asks for: %s', (member) => {
    const having = schemas.filter(([, schema]) => Object.hasOwn(schema, member));
    expect(having.length).toBeGreaterThan(10);
    expect(having.flatMap(([pointer, schema]) => faultsOf(pointer, schema[member]))).toEqual([]);
  });

  it('of a problem is a problem', () => {
    const examples = Object.values(document.components.examples);
    expect(examples.length).toBeGreaterThan(10);
    expect(examples.flatMap(({ value }) => faultsOf('/components/schemas/ProblemResponse', value))).toEqual(
      [],
    );
  });
});

/** What holds for schemas wherever they stand: what they are that break the rule. */
const RULES: [rule: string, breaks: (schema: Record<string, unknown>, pointer: string) => boolean][] = [
  [
    'an enum is a named schema, so that clients have one type for it',
    ({ enum: values }, pointer) => values !== undefined && !/^\/components\/schemas\/[^/]+$/.test(pointer),
  ],
  [
    'a choice between objects is a named schema',
    ({ oneOf }, pointer) =>
      (oneOf as { $ref?: string; type?: string; properties?: object }[] | undefined)?.some(
        (one) => one.properties !== undefined,
      ) === true && !/^\/components\/schemas\/[^/]+$/.test(pointer),
  ],
  [
    'a number has a format, which says whether it is whole',
    ({ type, format }) =>
      [type].flat().some((one) => one === 'integer' || one === 'number') && format === undefined,
  ],
];

it.each(RULES)('%s', (_, breaks) => {
  expect(schemas.filter(([pointer, schema]) => breaks(schema, pointer)).map(([pointer]) => pointer)).toEqual(
    [],
  );
});

it('names its schemas in words of the API', () => {
  expect(Object.keys(document.components.schemas).filter((name) => /Dto|Entity|Row/.test(name))).toEqual([]);
});

it('names each operation by a verb and its object, and no two alike', () => {
  const ids = operations.map(({ operationId }) => operationId);
  expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
  expect(ids.filter((id) => !/^[a-z]+(?:[A-Z][a-z]+)+$/.test(id))).toEqual([]);
});

it('has one scheme for the Authorization header, and no parameter for it', () => {
  const schemes = Object.values(document.components.securitySchemes) as { type: string; name?: string }[];
  expect(
    schemes.filter(({ type, name }) => type === 'http' || /^authorization$/i.test(name ?? '')),
  ).toHaveLength(1);
  const names = operations.flatMap(({ parameters = [] }) => parameters.map(({ name }) => name));
  expect(names.filter((name) => /^authorization$/i.test(name))).toEqual([]);
});

it('asks for a UUID wherever a path names one thing', () => {
  const inPaths = operations.flatMap(({ operationId, parameters = [] }) =>
    parameters
      .filter((parameter) => parameter.in === 'path' && parameter.schema?.format !== 'uuid')
      .map(({ name }) => `${operationId}: ${name}`),
  );
  expect(inPaths).toEqual([]);
});
