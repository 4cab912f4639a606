import type { OpenAPIObject } from '@nestjs/swagger';
import { mapSchemas, modernized, named, SchemaObject } from './schema-3-1.js';

/**
 * What Swagger's decorators write is OpenAPI 3.0, whose `nullable` beside a reference forbids null to strict readers.
 * This turns a document into OpenAPI 3.1 (JSON Schema 2020-12), and says what the decorators cannot:
 *
 * - null is a type: `anyOf: [{$ref}, {type: 'null'}]`, `type: ['string', 'null']`;
 * - a number is whole, and has a format, unless its property has `format: 'double'`;
 * - a schema with a `title` is one of the document's named schemas;
 * - a request body takes no member that its schema does not name, as the validation refuses it;
 * - the body of a PATCH has no defaults, for what is left out stays as it is;
 * - every answer carries the headers that every answer has.
 */
export function toOpenApi31(document: OpenAPIObject, serverUrl: string): OpenAPIObject {
  const schemas: Record<string, SchemaObject> = {};
  const converted = mapSchemas(document, (schema) => named(modernized(schema), schemas)) as Described;
  const { info, tags, security, paths, components } = converted;
  const whole = { paths, components: { ...components, schemas: { ...components?.schemas, ...schemas } } };
  closeRequestBodies(whole);
  dropPatchDefaults(whole);
  describeHeaders(whole);
  return {
    openapi: '3.1.0',
    info: { ...info, license: LICENSE },
    servers: [{ url: serverUrl }],
    tags,
    security,
    ...whole,
  } as OpenAPIObject;
}

/** `identifier` is an SPDX expression, which 3.1 allows in place of a URL. */
const LICENSE = { name: 'MIT', identifier: 'MIT' };

interface Answer {
  headers?: Record<string, object>;
}

interface Operation {
  requestBody?: { content: Record<string, { schema?: SchemaObject }> };
  responses: Record<string, Answer>;
}

interface Described extends Pick<OpenAPIObject, 'info' | 'tags' | 'security'> {
  paths: Record<string, Record<string, Operation>>;
  components?: { schemas?: Record<string, SchemaObject>; headers?: Record<string, object> };
}

type Parts = Pick<Described, 'paths' | 'components'>;

/** Closes the schemas of bodies, and those that they refer to, against members that they do not name. */
function closeRequestBodies({ paths, components }: Parts): void {
  const closed = new Set<SchemaObject>();
  const close = (schema: SchemaObject | undefined): void => {
    if (!schema || closed.has(schema)) return;
    closed.add(schema);
    close(referred(schema, components));
    if (schema.properties) schema.additionalProperties ??= false;
    for (const part of [...(schema.allOf ?? []), ...(schema.anyOf ?? []), ...(schema.oneOf ?? [])])
      close(part);
    for (const member of Object.values(schema.properties ?? {})) close(member);
    close(schema.items);
  };
  for (const [, operation] of operationsOf(paths)) {
    for (const { schema } of Object.values(operation.requestBody?.content ?? {})) close(schema);
  }
}

/** A client that fills in defaults would reset all that it does not mean to change. */
function dropPatchDefaults({ paths, components }: Parts): void {
  for (const [method, { requestBody }] of operationsOf(paths)) {
    if (method !== 'patch') continue;
    for (const { schema } of Object.values(requestBody?.content ?? {})) {
      const { properties = {} } = (schema && referred(schema, components)) ?? schema ?? {};
      for (const property of Object.values(properties)) delete property.default;
    }
  }
}

function referred({ $ref }: SchemaObject, components: Parts['components']): SchemaObject | undefined {
  return $ref === undefined ? undefined : components?.schemas?.[$ref.split('/').at(-1) ?? ''];
}

const HEADERS = {
  'X-Request-ID': {
    description:
      'The id of the request: the one that it carried, else a new one. Logs and deliveries have it too.',
    schema: { type: 'string' },
  },
  'Retry-After': {
    description: 'Seconds after which the request may be sent again (RFC 9110, section 10.2.3).',
    schema: { type: 'integer', format: 'int64', minimum: 0 },
  },
};

function describeHeaders(document: Parts): void {
  document.components = { ...document.components, headers: { ...document.components?.headers, ...HEADERS } };
  const headerRef = (name: keyof typeof HEADERS): object => ({
    [name]: { $ref: `#/components/headers/${name}` },
  });
  for (const [, { responses }] of operationsOf(document.paths)) {
    for (const [status, answer] of Object.entries(responses)) {
      if ('$ref' in answer) continue;
      const waits = status === '429' || status === '503';
      answer.headers = {
        ...headerRef('X-Request-ID'),
        ...(waits && headerRef('Retry-After')),
        ...answer.headers,
      };
    }
  }
}

/** The operations of all paths with their methods; members of a path item that are none are passed over. */
function operationsOf(paths: Described['paths']): [method: string, operation: Operation][] {
  return Object.values(paths)
    .flatMap((item) => Object.entries(item))
    .filter(([, operation]) => typeof operation === 'object' && 'responses' in operation);
}
