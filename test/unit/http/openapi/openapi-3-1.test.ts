import { describe, expect, it } from 'vitest';
import { toOpenApi31 } from '../../../../src/http/openapi/openapi-3-1.js';

const ref = { $ref: '#/components/schemas/Limit' };
const asNull = { type: 'null' };

/** A schema as the decorators write it, and what the document says in its place. */
const SCHEMAS: [name: string, written: object, said: object][] = [
  ['a text that may be null', { type: 'string', nullable: true }, { type: ['string', 'null'] }],
  [
    'a choice that may be null',
    { type: 'string', enum: ['a'], nullable: true },
    { type: ['string', 'null'], enum: ['a', null] },
  ],
  ['a reference that may be null', { nullable: true, allOf: [ref] }, { anyOf: [ref, asNull] }],
  [
    'the same with the type repeated',
    { type: 'object', nullable: true, allOf: [ref] },
    { anyOf: [ref, asNull] },
  ],
  [
    'alternatives that may be null',
    { oneOf: [{ type: 'string' }, { type: 'object' }], nullable: true },
    { oneOf: [{ type: 'string' }, { type: 'object' }, asNull] },
  ],
  ['a reference with a description', { allOf: [ref], description: 'd' }, { ...ref, description: 'd' }],
  ['any value at all', { oneOf: [{}], description: 'd' }, { description: 'd' }],
  ['a whole number', { type: 'number', minimum: 1 }, { type: 'integer', format: 'int64', minimum: 1 }],
  ['any number', { type: 'number', format: 'double' }, { type: 'number', format: 'double' }],
  [
    'a whole number that may be null',
    { type: 'number', nullable: true },
    { type: ['integer', 'null'], format: 'int64' },
  ],
  [
    'items',
    { type: 'array', items: { type: 'number' } },
    { type: 'array', items: { type: 'integer', format: 'int64' } },
  ],
  [
    'a property that is called like a keyword',
    {
      type: 'object',
      properties: { default: { type: 'number' }, example: { type: 'string', nullable: true } },
    },
    {
      type: 'object',
      properties: { default: { type: 'integer', format: 'int64' }, example: { type: ['string', 'null'] } },
    },
  ],
  [
    'an example that looks like a schema',
    { type: 'object', example: { schema: { type: 'number', nullable: true } } },
    { type: 'object', example: { schema: { type: 'number', nullable: true } } },
  ],
];

describe('a schema of an answer', () => {
  it.each(SCHEMAS)('is said in 3.1: %s', (_, written, said) => {
    expect(convert({ components: { schemas: { One: written } } }).components.schemas.One).toEqual(said);
  });
});

it('closes the bodies of requests, and what they refer to, but no answer', () => {
  const members = { type: 'object', properties: { a: { type: 'string' } } };
  const { schemas } = convert({
    paths: { '/a': { post: takes('Body') } },
    components: {
      schemas: {
        Body: {
          type: 'object',
          properties: { list: { type: 'array', items: { $ref: '#/components/schemas/Inner' } } },
        },
        Inner: members,
        Free: { ...members, additionalProperties: true },
        Answer: members,
      },
    },
  }).components;
  expect(schemas.Body.additionalProperties).toBe(false);
  expect(schemas.Inner.additionalProperties).toBe(false);
  expect(schemas.Free.additionalProperties).toBe(true);
  expect(schemas.Answer).toEqual(members);
});

it('gives each answer its headers', () => {
  const responses = { 200: { description: '' }, 429: { description: '' } };
  const { get } = convert({ paths: { '/a': { get: { responses } } } }).paths['/a'];
  expect(Object.keys(get.responses[200].headers)).toEqual(['X-Request-ID']);
  expect(Object.keys(get.responses[429].headers)).toEqual(['X-Request-ID', 'Retry-After']);
});

it('drops the defaults of what a PATCH leaves out, and no others', () => {
  const properties = {
    a: { type: 'boolean', default: true },
    b: { $ref: '#/components/schemas/Inner', default: { c: 2 } },
  };
  const { schemas } = convert({
    paths: { '/a': { patch: takes('Patch'), post: takes('Post') } },
    components: {
      schemas: {
        Patch: { properties },
        Post: { properties },
        Inner: { properties: { c: { type: 'string', default: '1' } } },
      },
    },
  }).components;
  expect(schemas.Patch.properties).toEqual({
    a: { type: 'boolean' },
    b: { $ref: '#/components/schemas/Inner' },
  });
  expect(schemas.Post.properties).toEqual(properties);
  expect(schemas.Inner.properties.c.default).toBe('1');
});

describe('a schema with a title', () => {
  const titled = { title: 'Choice', type: 'string', enum: ['a'] };
  const convertTwo = (one: object, other: object) =>
    convert({ components: { schemas: { One: { properties: { one } }, Other: { properties: { other } } } } })
      .components.schemas;

  it('has that name in the document', () => {
    const schemas = convertTwo(titled, { oneOf: [titled], nullable: true });
    const named = { $ref: '#/components/schemas/Choice' };
    expect(schemas.Choice).toEqual({ type: 'string', enum: ['a'] });
    expect(schemas.One.properties.one).toEqual(named);
    expect(schemas.Other.properties.other).toEqual({ anyOf: [named, asNull] });
  });

  it('shares it with no other schema', () => {
    expect(() => convertTwo(titled, { ...titled, enum: ['b'] })).toThrow(
      'Two schemas of the API are called Choice',
    );
  });
});

it('says where the service is, and under which licence', () => {
  expect(convert({})).toMatchObject({
    openapi: '3.1.0',
    servers: [{ url: 'https://hooks.example.com' }],
    info: { license: { name: 'MIT', identifier: 'MIT' } },
  });
});

/** Parts of a document, of whatever shape a case has. */
function convert(parts: object): any {
  const document = { openapi: '3.0.0', info: { title: 't', version: '1' }, paths: {}, ...parts };
  return toOpenApi31(document, 'https://hooks.example.com');
}

/** An operation whose body is that schema. */
const takes = (name: string): object => ({
  requestBody: { content: { 'application/json': { schema: { $ref: `#/components/schemas/${name}` } } } },
  responses: {},
});
