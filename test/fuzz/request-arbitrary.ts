import fc from 'fast-check';
import {
  bodySchema,
  Document,
  kindOf,
  Operation,
  queryParameters,
  resolved,
  Schema,
} from '../support/openapi.js';
import {
  changed,
  changes,
  nastyEscapes,
  nastyName,
  nastyText,
  nastyValue,
  percentEncoded,
  writeRaw,
} from './nasty.js';
import { merged } from './schema-check.js';

/** A request with ids still to be filled in: see {@link ids}. */
export interface FuzzRequest {
  method: string;
  /** With its query, without /api/v1. */
  target: string;
  headers: [name: string, value: string][];
  body: string | Buffer | undefined;
}

/** Where deliveries may go: to this machine, or to a name that never resolves (RFC 6761). */
const TARGETS = [
  '@@simulator@@/ok/fuzz',
  '@@simulator@@/always-fail/fuzz',
  'http://127.0.0.1:1/',
  'http://a.invalid/',
];

/** Fields that name a thing, which has an id, or a place in a list. */
const IDENTIFYING = /_id$|^id$|^cursor$/;

/**
 * Stands for an id that is only known when the request is sent: one of the sender's own, one of another tenant, or one
 * that nobody has.
 */
export function ids(kind: string): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.constantFrom('own', 'own', 'own', 'foreign', 'unknown'),
      fc.constantFrom(kind, kind, kind, ''),
      fc.nat(99),
    )
    .map(([whose, what, which]) => `@@${whose}:${what}:${which}@@`);
}

/** Requests to one route: many that it should accept, and more that are wrong in one or several ways. */
export function requestsTo(document: Document, operation: Operation): fc.Arbitrary<FuzzRequest> {
  return fc
    .record({
      method: methods(operation),
      path: paths(operation),
      query: queries(document, operation),
      headers: headers(),
      body: bodies(document, operation),
    })
    .map(({ method, path, query, headers, body }) => ({
      method,
      target: path + query,
      headers: body === undefined ? headers.filter(([name]) => name !== 'content-type') : headers,
      body,
    }));
}

/** A request that the route should accept, to something of one's own. */
export function validRequestTo(
  document: Document,
  operation: Operation,
  own: fc.Arbitrary<string>,
): fc.Arbitrary<FuzzRequest> {
  const schema = bodySchema(operation);
  return fc
    .tuple(
      own,
      schema ? validValue(document, schema).map((value) => JSON.stringify(value)) : fc.constant(undefined),
    )
    .map(([id, body]) => ({
      method: operation.method,
      target: operation.path.replaceAll(/\{\w+\}/g, id),
      headers: body === undefined ? [] : [['content-type', 'application/json']],
      body,
    }));
}

function methods({ method }: Operation): fc.Arbitrary<string> {
  return fc.oneof(
    { weight: 30, arbitrary: fc.constant(method) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'),
    },
    { weight: 1, arbitrary: fc.constantFrom('get', 'PROPFIND', 'QUERY', 'NONSENSE', 'G@T', 'POST POST') },
  );
}

function paths(operation: Operation): fc.Arbitrary<string> {
  const segments = operation.path.split('/').map((segment): fc.Arbitrary<string> => {
    const parameter = /^\{(\w+)\}$/.exec(segment)?.[1];
    if (parameter === undefined) return fc.constant(segment);
    const kind = kindOf(operation, parameter);
    return fc.oneof(
      { weight: 8, arbitrary: ids(kind) },
      { weight: 1, arbitrary: ids(kind).map((id) => `@@upper@@${id}`) },
      { weight: 1, arbitrary: ids(kind).chain((id) => nastyEscapes.map((escape) => id + escape)) },
      { weight: 2, arbitrary: nastyEscapes },
      {
        weight: 1,
        arbitrary: fc.constantFrom('..', '.', '%2e%2e', 'retry', 'batch', 'a'.repeat(300), '{id}', '*', ''),
      },
    );
  });
  const endings = fc.oneof(
    { weight: 40, arbitrary: fc.constant('') },
    {
      weight: 1,
      arbitrary: fc.constantFrom('/', '//', '/..', ';a=b', '%20', '%3Flimit=1', '%2f', '/secret', '.json'),
    },
  );
  return fc.tuple(fc.tuple(...segments), endings).map(([parts, ending]) => parts.join('/') + ending);
}

function queries(document: Document, operation: Operation): fc.Arbitrary<string> {
  const declared = queryParameters(operation).map(({ name, schema = {} }) =>
    fc.oneof(
      {
        weight: 3,
        arbitrary: validValue(document, schema, name).map((value) => `${name}=${inQuery(value)}`),
      },
      { weight: 1, arbitrary: nastyText.map((text) => `${name}=${percentEncoded(text)}`) },
      { weight: 1, arbitrary: nastyEscapes.map((text) => `${name}=${text}`) },
      { weight: 1, arbitrary: fc.constantFrom(name, `${name}[]=1`, `${name}[a]=1`, `${name}=a&${name}=b`) },
    ),
  );
  const stray = fc
    .tuple(nastyName.map(percentEncoded), nastyEscapes)
    .map(([name, value]) => `${name}=${value}`);
  const pairs = fc.array(fc.oneof(...declared, ...(declared.length === 0 ? [stray] : [])), { maxLength: 4 });
  return fc.oneof(
    { weight: declared.length === 0 ? 12 : 2, arbitrary: fc.constant('') },
    { weight: declared.length === 0 ? 1 : 8, arbitrary: pairs.map(inFull) },
    { weight: 1, arbitrary: fc.tuple(pairs, stray).map(([some, one]) => inFull([...some, one])) },
  );
}

const inFull = (pairs: string[]): string => (pairs.length === 0 ? '' : `?${pairs.join('&')}`);

/** Placeholders stay as they are. */
const inQuery = (value: unknown): string => {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return text.startsWith('@@') ? text : percentEncoded(text);
};

function headers(): fc.Arbitrary<[string, string][]> {
  const contentType = fc.oneof(
    { weight: 20, arbitrary: fc.constant('application/json') },
    {
      weight: 1,
      arbitrary: fc.constantFrom(
        ...[
          'application/json; charset=utf-8',
          'application/json;charset=latin1',
          'APPLICATION/JSON',
          'application/',
        ],
        ...[
          'application/problem+json',
          'text/plain',
          'application/x-www-form-urlencoded',
          'multipart/form-data',
        ],
        ...['', 'nonsense', 'application/json, text/plain', '*/*', 'application/json;'.repeat(50), '\xff'],
      ),
    },
  );
  const value = fc.oneof(
    nastyText.map((text) => Buffer.from(text).toString('latin1')),
    fc.constantFrom(
      '',
      'a',
      'a b',
      'x'.repeat(300),
      'x'.repeat(20_000),
      '\t',
      '\xe9',
      'a,b',
      '"',
      "'--",
      '%00',
    ),
  );
  const name = fc.constantFrom(
    ...['idempotency-key', 'idempotency-key', 'x-request-id', 'x-request-id', 'authorization', 'x-api-key'],
    ...[
      'accept',
      'accept-encoding',
      'content-encoding',
      'expect',
      'range',
      'if-none-match',
      'upgrade',
      'origin',
    ],
    ...[
      'access-control-request-method',
      'x-http-method-override',
      'x-forwarded-for',
      'forwarded',
      'cookie',
      'te',
    ],
    ...[
      'traceparent',
      'accept-version',
      'host',
      'transfer-encoding',
      'content-length',
      'x-original-url',
      'a b',
      '',
    ],
  );
  const others = fc.oneof(
    { weight: 5, arbitrary: fc.constant<[string, string][]>([]) },
    { weight: 1, arbitrary: fc.tuple(fc.constant('idempotency-key'), fc.uuid()).map((one) => [one]) },
    { weight: 2, arbitrary: fc.array(fc.tuple(name, value), { maxLength: 3 }) },
  );
  return fc.tuple(contentType, others).map(([type, some]) => [['content-type', type], ...some]);
}

function bodies(document: Document, operation: Operation): fc.Arbitrary<string | Buffer | undefined> {
  const schema = bodySchema(operation);
  const value = schema ? validValue(document, schema) : fc.constantFrom<unknown>({}, [], null, { a: 1 });
  const text = value.map((one) => JSON.stringify(one));
  const mutated = fc
    .tuple(value, changes)
    .map(([one, some]) => some.reduce(changed, one))
    .map((one) => (one === undefined ? '' : writeRaw(JSON.stringify(one))));
  const large = text.map((one) => `{"surprise":"${'x'.repeat(100_000)}",${one.slice(1)}`);
  return fc.oneof(
    { weight: schema ? 5 : 40, arbitrary: fc.constant(undefined) },
    { weight: schema ? 25 : 5, arbitrary: text },
    { weight: schema ? 35 : 5, arbitrary: mutated },
    {
      weight: schema ? 10 : 5,
      arbitrary: fc.tuple(fc.oneof(text, mutated), fc.nat(), nastyBytes).map(broken),
    },
    { weight: 5, arbitrary: nastyValue.map((one) => writeRaw(JSON.stringify(one))) },
    { weight: 5, arbitrary: nastyBytes },
    { weight: 1, arbitrary: large },
  );
}

const nastyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  fc
    .constantFrom('', ' ', '{', '{"', '"\\u', '"\\ud800"', '{}{}', '\ufeff{}', '[,]', '{"a":1,"a":2}')
    .map((text) => Buffer.from(text)),
  fc
    .constantFrom([0xc0, 0xaf], [0xff], [0xed, 0xa0, 0x80], [0x22, 0xff, 0x22], [0x1f, 0x8b, 8])
    .map((bytes) => Buffer.from(bytes)),
);

/** Cut off somewhere, or with something in its middle that should not be there. */
function broken([text, where, bytes]: [string, number, Buffer]): Buffer {
  const whole = Buffer.from(text);
  const at = whole.length === 0 ? 0 : where % whole.length;
  return where % 2 === 0
    ? whole.subarray(0, at)
    : Buffer.concat([whole.subarray(0, at), bytes, whole.subarray(at)]);
}

/**
 * What a schema asks for: mostly its example, since there are rules that a schema cannot say. Names say what it cannot
 * either: where a URL may lead, and that a string is an id.
 */
export function validValue(document: Document, schema: Schema, name = ''): fc.Arbitrary<unknown> {
  const { example } = schema;
  const other = otherValue(document, schema, name);
  if (example === undefined || !isLocal(example) || IDENTIFYING.test(name)) return other;
  return fc.oneof({ weight: 3, arbitrary: fc.constant(example) }, { weight: 1, arbitrary: other });
}

function otherValue(document: Document, schema: Schema, name: string): fc.Arbitrary<unknown> {
  if (Array.isArray(schema.type)) {
    const [type = 'null', ...others] = schema.type;
    const given = otherValue(document, { ...schema, type }, name);
    return others.includes('null') ? fc.option(given, { freq: 6 }) : given;
  }
  if (schema.$ref) return validValue(document, resolved(document, schema), name);
  if (schema.allOf) {
    const { allOf, ...own } = schema;
    return validValue(document, merged(document, own, allOf), name);
  }
  const choices = schema.oneOf ?? schema.anyOf;
  if (choices) return fc.oneof(...choices.map((one) => validValue(document, one, name)));
  if (schema.enum) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'string':
      return textOf(schema, name);
    case 'number':
    case 'integer':
      return numberOf(schema);
    case 'boolean':
      return fc.boolean();
    case 'null':
      return fc.constant(null);
    case 'array':
      return fc.array(validValue(document, schema.items ?? {}, name), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 5, 5),
      });
    case 'object':
      return objectOf(document, schema);
    default:
      return fc.jsonValue();
  }
}

function textOf({ format, minLength = 0, maxLength = 40 }: Schema, name: string): fc.Arbitrary<string> {
  if (name.endsWith('url')) return fc.constantFrom(...TARGETS);
  if (name === 'cursor') return ids('').map((id) => `@@cursor@@${id}`);
  if (format === 'uuid') return ids(name.replace(IDENTIFYING, ''));
  if (format === 'date-time') {
    return fc
      .date({ min: new Date('1970-01-01'), max: new Date('2100-01-01'), noInvalidDate: true })
      .map((time) => time.toISOString());
  }
  const any = fc.oneof(
    fc.string({ minLength, maxLength: Math.min(maxLength, 40) }),
    fc.string({ unit: 'grapheme', minLength, maxLength: Math.min(maxLength, 20) }),
    fc.stringMatching(/^[a-z][a-z0-9]{0,7}(\.[a-z]{1,5}){0,2}$/),
  );
  return IDENTIFYING.test(name) ? fc.oneof(any, ids(name.replace(IDENTIFYING, ''))) : any;
}

function numberOf({ type, minimum = 0, maximum = 1_000_000 }: Schema): fc.Arbitrary<number> {
  const whole = fc.integer({ min: Math.ceil(minimum), max: Math.floor(maximum) });
  return type === 'integer'
    ? whole
    : fc.oneof({ weight: 6, arbitrary: whole }, fc.double({ min: minimum, max: maximum, noNaN: true }));
}

function objectOf(document: Document, schema: Schema): fc.Arbitrary<unknown> {
  const { properties = {}, required = [], additionalProperties: others } = schema;
  const members = Object.fromEntries(
    Object.entries(properties).map(([name, member]) => [name, validValue(document, member, name)]),
  );
  const own = fc.record(members, { requiredKeys: required });
  if (others === undefined || others === false) return own;
  const values = typeof others === 'object' ? validValue(document, others) : fc.jsonValue();
  const free = fc.tuple(own, fc.dictionary(fc.string({ maxLength: 12 }), values, { maxKeys: 4 }));
  return free.map(([some, more]) => ({ ...more, ...some }));
}

/** Whether an example leads nowhere. */
const isLocal = (example: unknown): boolean => !JSON.stringify(example).includes('://');
