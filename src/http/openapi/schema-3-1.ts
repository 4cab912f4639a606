/** A schema object of OpenAPI 3.0 (with `nullable`) or 3.1, as far as our decorators write it. */
export interface SchemaObject {
  $ref?: string;
  title?: string;
  type?: string | string[];
  format?: string;
  nullable?: boolean;
  enum?: unknown[];
  default?: unknown;
  allOf?: SchemaObject[];
  anyOf?: SchemaObject[];
  oneOf?: SchemaObject[];
  items?: SchemaObject;
  properties?: Record<string, SchemaObject>;
  additionalProperties?: boolean | SchemaObject;
}

/** Members of a document whose value is one schema, and those that hold several by name or in a list. */
const SCHEMA_MEMBERS = new Set(['schema', 'items', 'additionalProperties']);
const SCHEMA_MAPS = new Set(['properties', 'schemas']);
const SCHEMA_LISTS = new Set(['allOf', 'anyOf', 'oneOf']);
/** What these hold is a value of the API, whatever it looks like. */
const VALUES = new Set(['example', 'examples', 'default', 'enum']);

const NULL: SchemaObject = { type: 'null' };

/** The document with `change` applied to each schema in it, the innermost first. */
export function mapSchemas(node: unknown, change: (schema: SchemaObject) => SchemaObject): unknown {
  if (Array.isArray(node)) return node.map((one) => mapSchemas(one, change));
  if (!isObject(node)) return node;
  const schemaFrom = (value: unknown): unknown =>
    isObject(value) ? change(mapSchemas(value, change) as SchemaObject) : value;
  return mapValues(node, (value, name) => {
    if (VALUES.has(name)) return value;
    if (SCHEMA_MEMBERS.has(name)) return schemaFrom(value);
    if (SCHEMA_LISTS.has(name)) return (value as unknown[]).map(schemaFrom);
    return SCHEMA_MAPS.has(name) && isObject(value)
      ? mapValues(value, schemaFrom)
      : mapSchemas(value, change);
  });
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null;

const mapValues = (
  record: Record<string, unknown>,
  change: (value: unknown, name: string) => unknown,
): object => Object.fromEntries(Object.entries(record).map(([name, value]) => [name, change(value, name)]));

/** What a schema of 3.0 says, as one of 3.1 (JSON Schema 2020-12). */
export function modernized({ nullable, ...schema }: SchemaObject): SchemaObject {
  const exact = unwrapped(integer(schema));
  return nullable ? withNull(exact) : exact;
}

/** A number is whole unless its property says `format: 'double'`: Swagger sees only that TypeScript has one type. */
function integer(schema: SchemaObject): SchemaObject {
  const isWhole = schema.type === 'integer' || schema.type === 'number';
  return isWhole && schema.format === undefined ? { ...schema, type: 'integer', format: 'int64' } : schema;
}

/** In 3.1 a reference may have a description beside it, and one alternative alone is no choice. */
function unwrapped(schema: SchemaObject): SchemaObject {
  // Swagger repeats the type beside a reference, which would forbid null.
  const { allOf, oneOf, type: _, ...rest } = schema;
  const [only, ...others] = allOf ?? oneOf ?? [];
  return only === undefined || others.length > 0 ? schema : { ...only, ...rest };
}

function withNull(schema: SchemaObject): SchemaObject {
  const { $ref, oneOf, type, ...rest } = schema;
  if ($ref !== undefined) return { ...rest, anyOf: [{ $ref }, NULL] };
  if (oneOf !== undefined) return { ...rest, oneOf: [...oneOf, NULL] };
  if (typeof type !== 'string') return schema;
  return {
    ...rest,
    type: [type, 'null'],
    ...(schema.enum && { enum: [...schema.enum, null] }),
  };
}

/**
 * Gives an inline schema that has a `title` a name in the document: what stands in its place refers to it. For unions
 * and their parts, which no class can declare.
 * @throws Error when two different schemas have one title
 */
export function named(schema: SchemaObject, schemas: Record<string, SchemaObject>): SchemaObject {
  const { title, ...rest } = schema;
  if (title === undefined) return schema;
  const present = schemas[title];
  if (present !== undefined && JSON.stringify(present) !== JSON.stringify(rest)) {
    throw new Error(`Two schemas of the API are called ${title}: give one of them another title.`);
  }
  schemas[title] = rest;
  return { $ref: `#/components/schemas/${title}` };
}
