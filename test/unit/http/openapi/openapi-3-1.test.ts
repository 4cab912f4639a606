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
    { oneOf: [{ type: 'string' }], nullable: true },
    { oneOf: [{ type: 'string' }, asNull] },
  ],
  ['a reference with a description', { allOf: [ref], description: 'd' }, { allOf: [ref], description: 'd' }],
  ['a whole number', { type: 'number', minimum: 1 }, { type: 'integer', minimum: 1 }],
  ['any number', { type: 'number', format: 'double' }, { type: 'number', format: 'double' }],
  ['a whole number that may be null', { type: 'number', nullable: true }, { type: ['integer', 'null'] }],
  ['items', { type: 'array', items: { type: 'number' } }, { type: 'array', items: { type: 'integer' } }],
  [
    'a property that is called like a keyword',
    {
      type: 'object',
      properties: { default: { type: 'number' }, example: { type: 'string', nullable: true } },
    },
    { type: 'object', properties: { default: { type: 'integer' }, example: { type: ['string', 'null'] } } },
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
    paths: {
      '/a': {
        post: {
          requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Body' } } } },
          responses: {},
        },
      },
    },
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

it('gives each answer its headers, and Authorization no parameter', () => {
  const parameters = [
    { in: 'header', name: 'authorization' },
    { in: 'query', name: 'limit' },
  ];
  const { get } = convert({
    paths: {
      '/a': { get: { parameters, responses: { 200: { description: '' }, 429: { description: '' } } } },
    },
  }).paths['/a'];
  expect(Object.keys(get.responses[200].headers)).toEqual(['X-Request-ID']);
  expect(Object.keys(get.responses[429].headers)).toEqual(['X-Request-ID', 'Retry-After']);
  expect(get.parameters).toEqual([{ in: 'query', name: 'limit' }]);
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
