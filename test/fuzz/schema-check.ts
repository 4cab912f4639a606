import { isUuid } from '../../src/domain/uuid-v7.js';
import { Document, resolved, Schema } from '../support/openapi.js';

/**
 * Where a JSON value is not what a schema of the document says; empty if nowhere. Stricter than JSON Schema in one
 * thing: a member that the schema does not name is one, since what nobody documented may be what nobody meant to show.
 */
export function violations(document: Document, schema: Schema, value: unknown, path = ''): string[] {
  const { allOf, anyOf, oneOf = anyOf, enum: choices, ...own } = resolved(document, schema);
  const at = path === '' ? 'the body' : path;
  if (Array.isArray(own.type)) {
    return alternatives(
      document,
      own.type.map((type) => ({ ...own, type, ...(choices && { enum: choices }) })),
      value,
      path,
    );
  }
  if (allOf) return violations(document, merged(document, own, allOf), value, path);
  if (oneOf) return alternatives(document, oneOf, value, path);
  if (choices && !choices.includes(value)) return [`${at} is none of ${choices.join(', ')}`];
  switch (own.type) {
    case 'object':
      return isObject(value) ? memberViolations(document, own, value, path) : [`${at} is no object`];
    case 'array':
      if (!Array.isArray(value)) return [`${at} is no array`];
      return value.flatMap((item, index) => violations(document, own.items ?? {}, item, `${path}[${index}]`));
    case 'string':
      if (typeof value !== 'string') return [`${at} is no string`];
      if (own.format === 'uuid' && !isUuid(value)) return [`${at} is no UUID`];
      return own.format === 'date-time' && Number.isNaN(Date.parse(value)) ? [`${at} is no time`] : [];
    case 'integer':
      return Number.isInteger(value) ? [] : [`${at} is no whole number`];
    case 'null':
      return value === null ? [] : [`${at} is not null`];
    case 'number':
    case 'boolean':
      return typeof value === own.type ? [] : [`${at} is no ${own.type}`];
    default:
      return [];
  }
}

function alternatives(document: Document, schemas: Schema[], value: unknown, path: string): string[] {
  const tries = schemas.map((one) => violations(document, one, value, path));
  if (tries.some((found) => found.length === 0)) return [];
  return [`${path === '' ? 'the body' : path} is none of the alternatives`, ...tries.flat()];
}

function memberViolations(document: Document, schema: Schema, value: object, path: string): string[] {
  const { properties = {}, required = [], additionalProperties: others } = schema;
  const missing = required.filter((name) => !Object.hasOwn(value, name));
  return [
    ...missing.map((name) => `${path}.${name} is missing`),
    ...Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
      const at = `${path}.${name}`;
      const own = Object.hasOwn(properties, name) ? properties[name] : undefined;
      if (own) return violations(document, own, member, at);
      if (typeof others === 'object') return violations(document, others, member, at);
      return others === true ? [] : [`${at} is not documented`];
    }),
  ];
}

/** One schema for what all the parts say together. */
export function merged(document: Document, own: Schema, parts: Schema[]): Schema {
  const all = [...parts.map((part) => resolved(document, part)), own];
  return {
    ...Object.assign({}, ...all),
    properties: Object.assign({}, ...all.map(({ properties }) => properties)),
    required: all.flatMap(({ required }) => required ?? []),
  } as Schema;
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
