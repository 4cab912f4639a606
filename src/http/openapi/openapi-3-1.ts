import type { OpenAPIObject } from '@nestjs/swagger';

/**
 * What Swagger's decorators write is OpenAPI 3.0, whose `nullable` beside a reference forbids null to strict readers.
 * This turns a document into OpenAPI 3.1 (JSON Schema 2020-12), and says what the decorators cannot:
 *
 * - null is a type: `anyOf: [{$ref}, {type: 'null'}]`, `type: ['string', 'null']`;
 * - a number is whole unless its property has `format: 'double'`: Swagger sees only that TypeScript has one type;
 * - a request body takes no member that its schema does not name, as the validation refuses it;
 * - every answer carries the headers that every answer has;
 * - the Authorization header is the security scheme alone, since OpenAPI ignores a parameter of that name.
 */
export function toOpenApi31(document: OpenAPIObject, serverUrl: string): OpenAPIObject {
  const converted = mapSchemas(document, modernized) as OpenAPIObject & Described;
  closeRequestBodies(converted);
  describeHeaders(converted);
  dropAuthorizationParameters(converted);
  return {
    ...converted,
    openapi: '3.1.0',
    info: { ...converted.info, license: LICENSE },
    servers: [{ url: serverUrl }],
  };
}

/** `identifier` is an SPDX expression, which 3.1 allows in place of a URL. */
const LICENSE = { name: 'MIT', identifier: 'MIT' };

interface SchemaObject {
  $ref?: string;
  type?: string | string[];
  format?: string;
  nullable?: boolean;
  enum?: unknown[];
  allOf?: SchemaObject[];
  anyOf?: SchemaObject[];
  oneOf?: SchemaObject[];
  items?: SchemaObject;
  properties?: Record<string, SchemaObject>;
  additionalProperties?: boolean | SchemaObject;
}

interface Answer {
  headers?: Record<string, object>;
}

interface Operation {
  parameters?: { in: string; name: string }[] | undefined;
  requestBody?: { content: Record<string, { schema?: SchemaObject }> };
  responses: Record<string, Answer>;
}

interface Described {
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, SchemaObject>; headers?: Record<string, object> };
}

/** Members of a document whose value is one schema, and those that hold several by name. */
const SCHEMA_MEMBERS = new Set(['schema', 'items', 'additionalProperties']);
const SCHEMA_MAPS = new Set(['properties', 'schemas']);
const SCHEMA_LISTS = new Set(['allOf', 'anyOf', 'oneOf']);
/** What these hold is a value of the API, whatever it looks like. */
const VALUES = new Set(['example', 'examples', 'default', 'enum']);

/** The document with `change` applied to each schema in it, the innermost first. */
function mapSchemas(node: unknown, change: (schema: SchemaObject) => SchemaObject): unknown {
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

function modernized({ nullable, ...schema }: SchemaObject): SchemaObject {
  const whole: SchemaObject =
    schema.type === 'number' && schema.format === undefined ? { ...schema, type: 'integer' } : schema;
  return nullable ? withNull(whole) : whole;
}

function withNull(schema: SchemaObject): SchemaObject {
  // Beside a reference, Swagger repeats the type, which would forbid the null again.
  const { $ref, allOf, oneOf, type, ...rest } = schema;
  if ($ref !== undefined) return { ...rest, anyOf: [{ $ref }, NULL] };
  if (allOf !== undefined) {
    const [only] = allOf;
    return { ...rest, anyOf: [allOf.length === 1 && only ? only : { allOf }, NULL] };
  }
  if (oneOf !== undefined) return { ...rest, oneOf: [...oneOf, NULL] };
  if (typeof type !== 'string') return schema;
  return {
    ...rest,
    type: [type, 'null'],
    ...(schema.enum && { enum: [...schema.enum, null] }),
  };
}

const NULL: SchemaObject = { type: 'null' };

/** Closes the schemas of bodies, and those that they refer to, against members that they do not name. */
function closeRequestBodies({ paths, components }: Described): void {
  const schemas = components?.schemas ?? {};
  const closed = new Set<SchemaObject>();
  const close = (schema: SchemaObject | undefined): void => {
    if (!schema || closed.has(schema)) return;
    closed.add(schema);
    if (schema.$ref !== undefined) close(schemas[schema.$ref.split('/').at(-1) ?? '']);
    if (schema.properties) schema.additionalProperties ??= false;
    for (const part of [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])])
      close(part);
    for (const member of Object.values(schema.properties ?? {})) close(member);
    close(schema.items);
  };
  for (const operation of operationsOf(paths)) {
    for (const { schema } of Object.values(operation.requestBody?.content ?? {})) close(schema);
  }
}

const HEADERS = {
  'X-Request-ID': {
    description:
      'The id of the request: the one that it carried, else a new one. Logs and deliveries have it too.',
    schema: { type: 'string' },
  },
  'Retry-After': {
    description: 'Seconds after which the request may be sent again (RFC 9110, section 10.2.3).',
    schema: { type: 'integer', minimum: 0 },
  },
};

function describeHeaders(document: Described): void {
  document.components = { ...document.components, headers: { ...document.components?.headers, ...HEADERS } };
  const headerRef = (name: keyof typeof HEADERS): object => ({
    [name]: { $ref: `#/components/headers/${name}` },
  });
  for (const { responses } of operationsOf(document.paths)) {
    for (const [status, answer] of Object.entries(responses)) {
      const waits = status === '429' || status === '503';
      answer.headers = {
        ...headerRef('X-Request-ID'),
        ...(waits && headerRef('Retry-After')),
        ...answer.headers,
      };
    }
  }
}

function dropAuthorizationParameters({ paths }: Described): void {
  for (const operation of operationsOf(paths)) {
    operation.parameters = operation.parameters?.filter(
      (parameter) => parameter.in !== 'header' || parameter.name.toLowerCase() !== 'authorization',
    );
  }
}

/** The operations of all paths; members of a path item that are none are passed over. */
function operationsOf(paths: Described['paths']): Operation[] {
  return Object.values(paths)
    .flatMap((item) => Object.values(item))
    .filter((operation) => typeof operation === 'object' && 'responses' in operation);
}
