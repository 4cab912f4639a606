import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  bodySchema,
  documentOf,
  guardedOperations,
  keyed,
  nameOf,
  pathWith,
  resolved,
  type Document,
  type Operation,
  type Schema,
} from '../support/openapi.js';
import { Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';

/** Not read by people here: kept byte for byte, or looked up in what is. */
const DATA_FIELDS = ['payload', 'data', 'metadata'];
const LOOK_UPS = ['POST /webhooks/search'];
/** Answers for each event; the events are those of POST /events. */
const BATCH = 'POST /events/batch';

let posthorn: Posthorn;
let tenant: TestTenant;
let document: Document;
let operations: Operation[];
beforeAll(async () => {
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  document = await documentOf(posthorn);
  operations = (await guardedOperations(posthorn)).filter(
    (operation) => bodySchema(operation) && ![...LOOK_UPS, BATCH].includes(nameOf(operation)),
  );
});
afterAll(() => posthorn.stop());

function propertiesOf(schema: Schema): Record<string, Schema> {
  const { properties, allOf = [] } = resolved(document, schema);
  return Object.assign({}, properties, ...allOf.map(propertiesOf));
}

/** Values that hold the text wherever a field of this schema may hold one. */
function valuesWith(text: string, given: Schema): unknown[] {
  const schema = resolved(document, given);
  const types = [schema.type ?? []].flat();
  const values = [...(schema.oneOf ?? []), ...(schema.anyOf ?? []), ...(schema.allOf ?? [])].flatMap((one) =>
    valuesWith(text, one),
  );
  if (types.includes('string')) values.push(text);
  if (types.includes('array') && schema.items) {
    values.push(...valuesWith(text, schema.items).map((item) => [item]));
  }
  if (schema.properties) {
    for (const [name, member] of Object.entries(schema.properties)) {
      values.push(...valuesWith(text, member).map((value) => ({ [name]: value })));
    }
  }
  if (typeof schema.additionalProperties === 'object') values.push({ name: text }, { [text]: 'value' });
  return values;
}

it('is refused in every field of every route that people will read', async () => {
  let tried = 0;
  for (const operation of operations) {
    const { id } = (await tenant.request('POST', '/subscriptions', { target_url: 'https://example.com/' }))
      .body;
    for (const [field, schema] of Object.entries(propertiesOf(bodySchema(operation)!))) {
      if (DATA_FIELDS.includes(field)) continue;
      for (const value of valuesWith('a\u202Eb', schema)) {
        const what = `${nameOf(operation)} ${field} ${JSON.stringify(value)}`;
        const body = { ...operation.example, [field]: value };
        const answer = await keyed(operation, posthorn, tenant).request(
          operation.method,
          pathWith(operation, id),
          body,
        );
        expect(answer.status, `${what}: ${answer.text}`).toBe(422);
        const paths = answer.body.errors.map(({ path }: { path: string }) => path);
        expect(
          paths.some((path: string) => path.startsWith(field)),
          `${what}: ${answer.text}`,
        ).toBe(true);
        tried++;
      }
    }
  }
  expect(tried).toBeGreaterThan(50);
});

it('is named by its code point, with the path of the field', async () => {
  const source = { name: 'GitHub \u202E', provider: 'github' };
  const answer = await tenant.request('POST', '/sources', source);
  expect(answer.body.errors).toEqual([{ path: 'name', message: expect.stringContaining('U+202E') }]);
  const event = { event_type: 'a.b', payload: 1, event_id: 'a\u200Bb' };
  for (const [path, body] of [
    ['/events', event],
    ['/events/batch', { events: [event] }],
  ] as const) {
    expect((await tenant.request('POST', path, body)).text).toContain('U+200B');
  }
});

it('is kept where data is', async () => {
  const metadata = { note: 'a\u202Eb' };
  const made = await tenant.request('POST', '/subscriptions', {
    target_url: 'https://example.com/',
    metadata,
  });
  expect(made).toMatchObject({ status: 201, body: { metadata } });
  const event = { event_type: 'a.b', payload: { text: 'a\u202Eb' } };
  expect((await tenant.request('POST', '/events', event)).status).toBe(202);
});
