import type { Client, Posthorn } from './posthorn.js';

/** A route as /docs-json describes it. */
export interface Operation {
  method: string;
  /** Without the /api/v1 prefix, as a {@link Client} wants it: `/subscriptions/{id}`. */
  path: string;
  /** Needs the admin key. */
  isAdmin: boolean;
  /** A JSON body that the documentation gives as example; undefined where the route takes none. */
  example: Record<string, unknown> | undefined;
  /** The operation object of the document. */
  described: any;
}

/** Served without a key. */
const PUBLIC = /^\/(health|ready|metrics|docs)/;

/** Every route that wants a key. */
export async function guardedOperations(posthorn: Posthorn): Promise<Operation[]> {
  const { body: document } = await posthorn.anonymous.request('GET', '/docs-json');
  return (
    Object.entries<any>(document.paths)
      .filter(([path]) => !PUBLIC.test(path))
      .flatMap(([path, item]) =>
        Object.entries<any>(item).map(([method, described]) => ({
          method: method.toUpperCase(),
          path: path.replace('/api/v1', ''),
          isAdmin: path.startsWith('/api/v1/tenants'),
          example: exampleBody(document, described),
          described,
        })),
      )
      // A door of its own, such as one that a provider's signature opens, says so.
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

function exampleBody(document: any, { requestBody }: any): Record<string, unknown> | undefined {
  const content = requestBody?.content['application/json'];
  if (!content) return undefined;
  return content.example ?? exampleOf(document, content.schema);
}

function exampleOf(document: any, schema: any): any {
  if (schema === undefined) return undefined;
  if (schema.example !== undefined) return schema.example;
  if (schema.$ref) return exampleOf(document, document.components.schemas[schema.$ref.split('/').at(-1)]);
  if (schema.allOf) return Object.assign({}, ...schema.allOf.map((part: any) => exampleOf(document, part)));
  if (schema.type === 'array') return [exampleOf(document, schema.items)];
  if (schema.properties) {
    const members = Object.entries(schema.properties).map(([name, member]) => [
      name,
      exampleOf(document, member),
    ]);
    return Object.fromEntries(members.filter(([, value]) => value !== undefined));
  }
  return schema.default;
}
