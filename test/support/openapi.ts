import type { Client, Posthorn } from './posthorn.js';

interface Schema {
  example?: unknown;
  default?: unknown;
  type?: string;
  $ref?: string;
  allOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
}

type Content = Record<string, { schema?: Schema; example?: unknown }>;

/** An operation object of an OpenAPI document, as far as tests look at it. */
export interface Described {
  operationId: string;
  summary?: string;
  security?: unknown[];
  parameters?: { in: string; name: string }[];
  requestBody?: { content: Content };
  responses: Record<string, { content?: Content }>;
}

export interface Document {
  paths: Record<string, Record<string, Described>>;
  components: { schemas: Record<string, Schema>; securitySchemes: Record<string, unknown> };
  security: unknown[];
}

/** A route as /docs-json describes it. */
export interface Operation {
  method: string;
  /** Without the /api/v1 prefix, as a {@link Client} wants it: `/subscriptions/{id}`. */
  path: string;
  /** Needs the admin key. */
  isAdmin: boolean;
  /** The body that the documentation gives as example; undefined where the route takes none. */
  example: Record<string, unknown> | undefined;
  described: Described;
}

/** Served without a key. */
const PUBLIC = /^\/(health|ready|metrics|docs)/;

export async function documentOf(posthorn: Posthorn): Promise<Document> {
  return (await posthorn.anonymous.request('GET', '/docs-json')).body as Document;
}

/** Every route that wants a key. */
export async function guardedOperations(posthorn: Posthorn): Promise<Operation[]> {
  const document = await documentOf(posthorn);
  return (
    Object.entries(document.paths)
      .filter(([path]) => !PUBLIC.test(path))
      .flatMap(([path, item]) =>
        Object.entries(item).map(([method, described]) => ({
          method: method.toUpperCase(),
          path: path.replace('/api/v1', ''),
          isAdmin: path.startsWith('/api/v1/tenants'),
          example: exampleBody(document, described),
          described,
        })),
      )
      // A door that something else opens, such as a provider's signature, says so.
      .filter(({ described }) => described.security?.length !== 0)
  );
}

export const nameOf = ({ method, path }: Operation): string => `${method} ${path}`;

/** The client whose key fits the route. */
export const keyed = ({ isAdmin }: Operation, posthorn: Posthorn, tenant: Client): Client =>
  isAdmin ? posthorn.admin : tenant;

/** The path with this id in each parameter. */
export const pathWith = ({ path }: Operation, id: string): string => path.replace(/\{\w+\}/g, id);

export const hasParameter = ({ path }: Operation): boolean => path.includes('{');

function exampleBody(document: Document, { requestBody }: Described): Record<string, unknown> | undefined {
  const content = requestBody?.content['application/json'];
  if (!content) return undefined;
  return (content.example ?? exampleOf(document, content.schema)) as Record<string, unknown>;
}

function exampleOf(document: Document, schema: Schema | undefined): unknown {
  if (schema === undefined) return undefined;
  if (schema.example !== undefined) return schema.example;
  if (schema.$ref) return exampleOf(document, document.components.schemas[schema.$ref.split('/').at(-1)!]);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => exampleOf(document, part)));
  if (schema.type === 'array') return [exampleOf(document, schema.items)];
  if (!schema.properties) return schema.default;
  const members = Object.entries(schema.properties).map(([name, member]): [string, unknown] => [
    name,
    exampleOf(document, member),
  ]);
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}
