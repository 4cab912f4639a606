import type { Client, Posthorn } from './posthorn.js';

/** A schema object of OpenAPI 3.1, as far as our document uses them. */
export interface Schema {
  $ref?: string;
  allOf?: Schema[];
  anyOf?: Schema[];
  oneOf?: Schema[];
  type?: string | string[];
  format?: string;
  enum?: unknown[];
  example?: unknown;
  default?: unknown;
  required?: string[];
  properties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  items?: Schema;
  minItems?: number;
  maxItems?: number;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
}

type Content = Record<string, { schema?: Schema; example?: unknown }>;

export interface Parameter {
  in: string;
  name: string;
  schema?: Schema;
}

/** An operation object of an OpenAPI document, as far as tests look at it. */
export interface Described {
  operationId: string;
  summary?: string;
  security?: unknown[];
  parameters?: Parameter[];
  requestBody?: { required?: boolean; content: Content };
  responses: Record<string, { content?: Content }>;
  /** What the key must be allowed to do; absent where the route wants none. */
  'x-required-scope'?: string;
  'x-operator-too'?: boolean;
}

export interface Document {
  paths: Record<string, Record<string, Described>>;
  components: {
    schemas: Record<string, Schema>;
    examples: Record<string, { value: unknown }>;
    securitySchemes: Record<string, unknown>;
  };
  security: unknown[];
}

/** A route as /docs-json describes it. */
export interface Operation {
  method: string;
  /** Without the /api/v1 prefix, as a {@link Client} wants it: `/subscriptions/{id}`. */
  path: string;
  /** Of `x-required-scope`; undefined where the document forgot it. */
  scope: string | undefined;
  /** Needs an operator key. */
  isAdmin: boolean;
  /** For a tenant's key, and for an operator key as well. */
  isForBoth: boolean;
  /** The body that the documentation gives as example; undefined where the route takes none. */
  example: Record<string, unknown> | undefined;
  described: Described;
}

export async function documentOf(posthorn: Posthorn): Promise<Document> {
  return (await posthorn.anonymous.request('GET', '/docs-json')).body as Document;
}

/** Every route that wants a key: every one that does not say that it wants none. */
export async function guardedOperations(posthorn: Posthorn): Promise<Operation[]> {
  return operationsOf(await documentOf(posthorn)).filter((operation) => !isPublic(operation));
}

export const isPublic = ({ described }: Operation): boolean => described.security?.length === 0;

export function operationsOf(document: Document): Operation[] {
  return Object.entries(document.paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, described]) => ({
      method: method.toUpperCase(),
      path: path.replace('/api/v1', ''),
      scope: described['x-required-scope'],
      isAdmin: described['x-required-scope'] === 'operator',
      isForBoth: described['x-operator-too'] === true,
      example: exampleBody(document, described),
      described,
    })),
  );
}

export const nameOf = ({ method, path }: Operation): string => `${method} ${path}`;

/** The client whose key fits the route. */
export const keyed = ({ isAdmin }: Operation, posthorn: Posthorn, tenant: Client): Client =>
  isAdmin ? posthorn.admin : tenant;

/** The path with this id in each parameter, or with what a function says of the parameter's name. */
export const pathWith = ({ path }: Operation, id: string | ((name: string) => string)): string =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => (typeof id === 'string' ? id : id(name)));

export const hasParameter = ({ path }: Operation): boolean => path.includes('{');

/** The names of the parameters in its path. */
export const pathParameters = ({ path }: Operation): string[] =>
  [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);

export const queryParameters = ({ described }: Operation): Parameter[] =>
  (described.parameters ?? []).filter((parameter) => parameter.in === 'query');

/** Whether it gives rows page by page. */
export const isList = (operation: Operation): boolean =>
  operation.method === 'GET' && queryParameters(operation).some(({ name }) => name === 'cursor');

/**
 * What kind of thing a path parameter names, by its own name (`{subscription_id}`) or the collection before it
 * (`/subscriptions/{id}`).
 */
export function kindOf({ path }: Operation, parameter: string): string {
  if (parameter.endsWith('_id')) return parameter.slice(0, -'_id'.length);
  return singular(path.slice(0, path.indexOf(`/{${parameter}}`)));
}

/** What kind of thing a list is a list of. */
export const kindListed = ({ path }: Operation): string => singular(path);

function singular(path: string): string {
  return path.split('/').at(-1)!.replace(/ies$/, 'y').replace(/s$/, '').replaceAll('-', '_');
}

/** The schema that a `$ref` stands for, or the schema itself. */
export function resolved(document: Document, schema: Schema): Schema {
  return schema.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)!]! : schema;
}

export function bodySchema({ described }: Operation): Schema | undefined {
  return described.requestBody?.content['application/json']?.schema;
}

function exampleBody(document: Document, { requestBody }: Described): Record<string, unknown> | undefined {
  const content = requestBody?.content['application/json'];
  if (!content) return undefined;
  return (content.example ?? exampleOf(document, content.schema)) as Record<string, unknown>;
}

function exampleOf(document: Document, schema: Schema | undefined): unknown {
  if (schema === undefined) return undefined;
  if (schema.example !== undefined) return schema.example;
  if (schema.default !== undefined) return schema.default;
  if (schema.$ref) return exampleOf(document, resolved(document, schema));
  if (schema.anyOf) return exampleOf(document, schema.anyOf[0]);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part) => exampleOf(document, part)));
  if (schema.type === 'array') return [exampleOf(document, schema.items)];
  if (!schema.properties) return undefined;
  const members = Object.entries(schema.properties).map(([name, member]): [string, unknown] => [
    name,
    exampleOf(document, member),
  ]);
  return Object.fromEntries(members.filter(([, value]) => value !== undefined));
}
