import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';

/** What is set comes back as it was given, or is refused with its path; what nothing comes of says why. */

let posthorn: Posthorn;
let tenant: TestTenant;
beforeAll(async () => {
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
});
afterAll(() => posthorn.stop());

const create = (field: string, json: string) => {
  const target = field === 'target_url' ? '' : '"target_url":"http://127.0.0.1:60009/",';
  return tenant.request('POST', '/subscriptions', `{${target}"${field}":${json}}`);
};

it.each([
  ['metadata', '{"account":"8202522731445525542","half":0.5,"list":[1,null,true,"\\u00e9 \\" \\\\"]}'],
  ['metadata', '{"max":9007199254740992,"small":5e-324,"large":1.7976931348623157e+308}'],
  ['description', '"  two  spaces  "'],
  ['event_types', '["Order.PAID","order.*"]'],
  ['headers', '{"X-Mixed-Case":"a  b"}'],
  ['retry_policy', '{"schedule":[1,2.5,4]}'],
  ['timeout_ms', '1e3'],
  ['target_url', '"HTTP://127.0.0.1:80/a%20b?c=%7e"'],
])('%s %s comes back', async (field, json) => {
  const { status, body, text } = await create(field, json);
  expect(status, text).toBe(201);
  const found = (await tenant.request('GET', `/subscriptions/${body.id}`)).body;
  expect(found[field]).toEqual(JSON.parse(json));
});

it.each([
  ['metadata', '{"account":8202522731445525542,"limit":1e400}', ['metadata.account', 'metadata.limit']],
  ['metadata', '{"a":[{"b":9007199254740993}]}', ['metadata.a[0].b']],
  ['metadata', '{"a":1,"a":2}', ['metadata.a']],
  ['timeout_ms', '1000.00000000000000001', ['timeout_ms']],
  ['target_url', '"http://127.0.0.1:60009/","target_url":"http://127.0.0.1:60009/"', ['target_url']],
  ['target_url', '"http://127.0.0.1:60009/#a"', ['target_url']],
  ['metadata', '{"a":"\\u0000"}', ['metadata.a']],
  ['metadata', '{"a":"\\ud800"}', ['metadata.a']],
])('%s %s is refused at %j', async (field, json, paths) => {
  const { status, body } = await create(field, json);
  expect(status).toBe(422);
  expect(body.errors.map(({ path }: { path: string }) => path)).toEqual(paths);
});

it.each([
  ['POST', '/subscriptions', { url: 'https://a.example/' }, 'did you mean target_url?'],
  ['POST', '/events', { type: 'a', payload: 1 }, 'did you mean event_type?'],
  ['POST', '/api-keys', { name: 'a', scope: ['read'] }, 'did you mean scopes?'],
  ['GET', '/events?page_size=5', undefined, 'did you mean limit?'],
])('%s %s with %j says what is known: %s', async (method, path, body, said) => {
  const answer = await tenant.request(method, path, body);
  expect(answer.status).toBe(422);
  expect(answer.body.detail).toContain(said);
  expect(answer.body.detail).toContain('known are ');
});

it.each<[string, string, object | undefined, string]>([
  ['GET', '/deliveries?status=deliverd', undefined, 'did you mean delivered? It must be one of pending, '],
  ['GET', '/deliveries?status=failed', undefined, 'did you mean dead?'],
  ['GET', '/deliveries?status=x', undefined, 'must be one of pending, '],
  ['GET', '/subscriptions?is_active=True', undefined, 'did you mean true? It must be true or false'],
  ['GET', '/stats?interval=daily', undefined, 'did you mean day?'],
  ['GET', '/dlq?reason=exausted', undefined, 'did you mean exhausted?'],
  ['GET', '/audit?action=subscription_create', undefined, 'did you mean subscription.create?'],
  ['POST', '/webhooks/search', { status: ['dead', 'canceled'] }, 'did you mean cancelled?'],
  ['POST', '/api-keys', { name: 'a', scopes: ['read', 'event:write'] }, 'did you mean events:write?'],
  ['POST', '/sources', { name: 'a', provider: 'GitHub' }, 'did you mean github?'],
  ['POST', '/sources', { name: 'a', provider: 'hmac', settings: { algorithm: 'SHA-256' } }, 'mean sha256?'],
  ['POST', '/sources', { name: 'a', provider: 'hmac', settings: { algoritm: 'sha1' } }, 'mean algorithm?'],
  ['POST', '/subscriptions', { target_url: 'http://127.0.0.1:60009/', retry_policy: 'fastt' }, 'mean fast?'],
])('%s %s with %j says which value was probably meant: %s', async (method, path, body, said) => {
  const answer = await tenant.request(method, path, body);
  expect(answer.status).toBe(422);
  expect(answer.body.detail).toContain(said);
});

it('finds a number that no double can hold, and looks at no member twice', async () => {
  const own = await posthorn.tenant();
  await own.request('POST', '/subscriptions', { target_url: 'http://127.0.0.1:60009/' });
  const account = '8202522731445525542';
  const sent = await own.request('POST', '/events', `{"event_type":"a","payload":{"account":${account}}}`);
  const search = (payload: string) => own.request('POST', '/webhooks/search', `{"payload":[${payload}]}`);
  const found = await search(`{"path":"account","equals":${account}}`);
  expect(found.status, found.text).toBe(200);
  expect(found.body.data).toMatchObject([{ event_id: sent.body.id }]);
  expect((await search('{"path":"account","equals":1}')).body.data).toEqual([]);
  const twice = await search('{"path":"account","equals":1,"equals":2}');
  expect(twice.body.errors).toMatchObject([{ path: 'payload[0].equals' }]);
});

describe('an event without deliveries', () => {
  it('says why', async () => {
    const own = await posthorn.tenant();
    const send = async (type: string) =>
      (await own.request('POST', '/events', { event_type: type, payload: 1 })).body.no_deliveries;
    expect(await send('a.b')).toEqual({ reason: 'no_subscription', inactive: 0, event_type: 0 });
    const fields = { target_url: 'http://127.0.0.1:60009/', event_types: ['a.*'] };
    const { body } = await own.request('POST', '/subscriptions', fields);
    expect(await send('b')).toEqual({ reason: 'event_type', inactive: 0, event_type: 1 });
    expect(await send('a.b')).toBeUndefined();
    await own.request('PATCH', `/subscriptions/${body.id}`, { is_active: false });
    expect(await send('a.b')).toEqual({ reason: 'inactive', inactive: 1, event_type: 0 });
    expect(await send('b')).toEqual({ reason: 'event_type', inactive: 0, event_type: 1 });
    const direct = await own.request('POST', `/webhooks/ingest/${body.id}`, { event: 'a.b', data: 1 });
    expect(direct.body.no_deliveries).toMatchObject({ reason: 'inactive' });
  });

  it('says why in the answer of a batch, for each', async () => {
    const own = await posthorn.tenant();
    await own.request('POST', '/subscriptions', {
      target_url: 'http://127.0.0.1:60009/',
      event_types: ['wanted'],
    });
    const event = { event_type: 'unwanted', payload: 1, event_id: 'e' };
    const { body } = await own.request('POST', '/events/batch', {
      events: [event, event, { event_type: 'wanted', payload: 1 }, { event_type: '?', payload: 1 }],
    });
    const answers = (body.results as object[]).map((result) => ({ no_deliveries: undefined, ...result }));
    expect(answers).toMatchObject([
      { status: 'accepted', no_deliveries: { reason: 'event_type', inactive: 0, event_type: 1 } },
      { status: 'duplicate', no_deliveries: undefined },
      { status: 'accepted', no_deliveries: undefined },
      { status: 'rejected', no_deliveries: undefined },
    ]);
  });

  it('says why in the answer of a source', async () => {
    const own = await posthorn.tenant();
    const secret = 'a-secret-of-the-source-81';
    const { body: source } = await own.request('POST', '/sources', { name: 'a', provider: 'bearer', secret });
    const send = (delivery: number) =>
      posthorn.anonymous.request(
        'POST',
        `/webhooks/receive/${source.id}`,
        { delivery },
        {
          authorization: `Bearer ${secret}`,
        },
      );
    expect((await send(1)).body.no_deliveries).toMatchObject({ reason: 'no_subscription' });
    await own.request('POST', '/subscriptions', { target_url: 'http://127.0.0.1:60009/' });
    expect((await send(2)).body).not.toHaveProperty('no_deliveries');
  });
});
