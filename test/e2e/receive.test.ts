import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import pg from 'pg';
import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { uuidV7 } from '../../src/domain/uuid-v7.js';
import { type Arrival } from '../../src/simulator/arrival-log.js';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { freshMetrics } from '../support/metrics.js';
import { type Answer, type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import {
  SENDERS,
  signedForIngest,
  signedForSlack,
  signedPlainly,
  type SignedWebhook,
} from '../support/signed-webhooks.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait-for.js';

/** The door for others' webhooks: what is signed is stored once and delivered as it came, and nothing else is. */

const MIB = 1_048_576;

let posthorn: Posthorn;
let simulator: Simulator;
let rows: Rows;
let tenant: TestTenant;
let subscriptionSecret: string;
let mailbox: string;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  rows = new Rows(posthorn.databaseUrl);
});
afterAll(async () => {
  await rows.end();
  await posthorn.stop();
  await simulator.close();
});
beforeEach(async () => {
  tenant = await posthorn.tenant();
  mailbox = `/ok/${randomUUID()}`;
  const { body } = await tenant.request('POST', '/subscriptions', { target_url: simulator.url + mailbox });
  subscriptionSecret = body.secret;
});

interface Source {
  id: string;
  secret: string;
}

async function sourceOf(
  provider: string,
  settings: Record<string, unknown> = {},
  more: Record<string, unknown> = {},
): Promise<Source> {
  const secret = randomBytes(24).toString('hex');
  const { status, text, body } = await tenant.request('POST', '/sources', {
    name: 'a source',
    provider,
    secret,
    settings,
    ...more,
  });
  expect(status, text).toBe(201);
  return { id: body.id, secret };
}

const post = (path: string, { headers, body }: SignedWebhook): Promise<Answer> =>
  posthorn.anonymous.request('POST', path, body, { 'content-type': undefined as never, ...headers });

const deliver = (source: Pick<Source, 'id'>, sent: SignedWebhook): Promise<Answer> =>
  post(`/webhooks/receive/${source.id}`, sent);

async function stored(): Promise<number> {
  const [row] = await rows.query<{ count: number }>(
    'select count(*)::int as count from event where tenant_id = $1',
    [tenant.id],
  );
  return row!.count;
}

async function arrival(): Promise<Arrival> {
  await simulator.waitFor(() => simulator.countOn(mailbox) === 1);
  return simulator.receivedOn(mailbox)[0]!;
}

describe.each(SENDERS)('what $provider sends', (sender) => {
  it('is stored once and delivered as it came', async () => {
    const { provider, secret, settings = {}, eventType, contentType } = sender;
    const source = await sourceOf(provider, settings, { secret });
    const sent = await sender.send('delivery-1');

    const answer = await deliver(source, sent);
    expect(answer.status, answer.text).toBe(202);
    expect(answer.body).toMatchObject({
      event_id: 'delivery-1',
      event_type: eventType,
      status: 'delivering',
      duplicate: false,
      deliveries: 1,
    });
    const { body, headers } = await arrival();
    expect(body).toEqual(sent.body);
    expect(headers).toMatchObject({
      'content-type': contentType,
      'webhook-id': answer.body.id,
      'x-webhook-event': eventType,
    });
    const shown = await tenant.request('GET', `/events/${answer.body.id}`);
    expect(shown.body).toMatchObject({ content_type: contentType, source_id: source.id });
    const listed = await tenant.request('GET', '/events');
    expect(listed.body.data).toMatchObject([
      { id: answer.body.id, content_type: contentType, source_id: source.id },
    ]);

    for (const again of [sent, await sender.send('delivery-1', 'the second try')]) {
      const repeated = await deliver(source, again);
      expect(repeated.status, repeated.text).toBe(200);
      expect(repeated.body).toMatchObject({ id: answer.body.id, event_type: eventType, duplicate: true });
    }
    expect(await stored()).toBe(1);
    const other = await deliver(source, await sender.send('delivery-2'));
    expect(other.status, other.text).toBe(202);
    expect(await stored()).toBe(2);
  });

  it('is refused when it is changed, signed with another secret, or not signed', async () => {
    const { provider, secret, settings = {} } = sender;
    const source = await sourceOf(provider, settings, { secret });
    const { headers, body } = await sender.send('delivery-1');
    const changed = Buffer.from(body.toString().replace(/delivered|1|user|event/, 'other'));
    const another = { ...sender, secret: secret.replaceAll('a', 'b').replaceAll('H', 'I') };
    const unsigned = Object.fromEntries(Object.entries(headers).filter(([name]) => !/signature/.test(name)));
    for (const forged of [
      { headers, body: changed },
      await another.send('delivery-1'),
      { headers: unsigned, body },
    ]) {
      expectUnsigned(await deliver(source, forged));
    }
    expect(await stored()).toBe(0);
  });
});

function expectUnsigned({ status, headers, body, text }: Answer): void {
  expect(status, text).toBe(401);
  expect(headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(body).toMatchObject({ code: 'signature_invalid', type: 'urn:posthorn:problem:signature_invalid' });
}

describe('the challenge of Slack', () => {
  const challenge = {
    type: 'url_verification',
    challenge: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P',
  };

  it('is answered when it is signed, and stored never', async () => {
    const source = await sourceOf('slack');
    const answer = await deliver(source, signedForSlack(source.secret, challenge));
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).toContain(challenge.challenge);
    expectUnsigned(await deliver(source, signedForSlack('another secret', challenge)));
    expect(await stored()).toBe(0);
  });
});

describe('a byte order mark', () => {
  it('hides neither type nor id, and stays in the payload', async () => {
    const source = await sourceOf('hmac', { event_type_field: 'type', delivery_id_field: 'id' });
    const body = Buffer.from('\ufeff{"type":"list.changed","id":"7"}');
    const answer = await deliver(source, signedPlainly(source.secret, body, 'application/json'));
    expect(answer.body, answer.text).toMatchObject({ event_type: 'list.changed', event_id: '7' });
    expect((await deliver(source, signedPlainly(source.secret, body))).status).toBe(200);
    expect((await arrival()).body).toEqual(body);
  });
});

describe('bytes and content type', () => {
  const everyByte = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
  it.each<[string, string | undefined, Buffer]>([
    ['JSON', 'application/json', Buffer.from(' {"big": 12345678901234567890,\r\n\t"a\\u0062": 1.0e2 }\n')],
    ['JSON of a charset', 'application/json;charset="UTF-8"', Buffer.from('"é"')],
    ['JSON of a kind', 'application/cloudevents+json', Buffer.from('{"a":1}')],
    ['JSON that is none', 'application/json', Buffer.from('{"a":1,}')],
    ['JSON in no UTF-8', 'application/json', Buffer.from('"\xe9"', 'latin1')],
    ['a form', 'application/x-www-form-urlencoded', Buffer.from('a=1&b=%C3%A9+x&a=2&c')],
    ['a form of parts', 'multipart/form-data; boundary=-x', Buffer.from('---x\r\n\r\n1\r\n---x--\r\n')],
    [
      'XML',
      'text/xml; charset=ISO-8859-1',
      Buffer.from('<?xml version="1.0"?>\r\n<a b=\'\xe9\'/>', 'latin1'),
    ],
    ['every byte', 'application/octet-stream', everyByte],
    ['text', 'text/plain', Buffer.from('\u0000\ufeff\ud83d\ude00')],
    ['an empty body', 'text/plain', Buffer.alloc(0)],
    ['one of 1 MiB', 'application/octet-stream', randomBytes(MIB)],
    ['JSON of 1 MiB', 'application/json', Buffer.from(JSON.stringify('x'.repeat(MIB - 2)))],
  ])('of %s arrive as they came', async (_, contentType, body) => {
    const source = await sourceOf('hmac');
    const answer = await deliver(source, signedPlainly(source.secret, body, contentType));
    expect(answer.status, answer.text).toBe(202);

    const got = await arrival();
    expect(got.body.equals(body)).toBe(true);
    expect(got.headers['content-type']).toBe(contentType);
    expectPosthornsSignature(got);
    const { text, body: shown } = await tenant.request('GET', `/events/${answer.body.id}`);
    expect(shown, text.slice(0, 200)).toMatchObject({ content_type: contentType, event_type: 'webhook' });
    if (/json/.test(contentType ?? '') && isJson(body))
      expect(text).toContain(`"payload":${body.toString()}}`);
    else expect(shown.payload_base64).toBe(body.toString('base64'));
    expect('payload' in shown).toBe(!('payload_base64' in shown));
  });

  it('of a body without a content type are kept', async () => {
    const source = await sourceOf('hmac');
    const answer = await deliver(source, signedPlainly(source.secret, everyByte));
    expect(answer.status, answer.text).toBe(202);
    const got = await arrival();
    expect(got.body).toEqual(everyByte);
    expect(got.headers['content-type']).toBe('application/octet-stream');
  });

  it('of one that is dead can be seen as well', async () => {
    const { body: failing } = await tenant.request('POST', '/subscriptions', {
      target_url: `${simulator.url}/always-fail/${tenant.id}`,
      retry_policy: { schedule: [] },
    });
    const source = await sourceOf('hmac');
    await deliver(source, signedPlainly(source.secret, everyByte, 'text/plain'));
    const letter = await waitFor(
      async () =>
        (await tenant.request('GET', `/dlq?subscription_id=${failing.id}`)).body.data[0] as { id: string },
      { what: 'the dead letter' },
    );
    const { body: shown } = await tenant.request('GET', `/dlq/${letter.id}`);
    expect(shown).toMatchObject({
      content_type: 'text/plain',
      payload_base64: everyByte.toString('base64'),
    });
  });

  it('of more than the limit, and of what would have to be decoded, are refused', async () => {
    const source = await sourceOf('hmac');
    const large = await deliver(source, signedPlainly(source.secret, Buffer.alloc(MIB + 1), 'text/plain'));
    expect([large.status, large.body.code]).toEqual([413, 'payload_too_large']);
    const { headers, body } = signedPlainly(source.secret, everyByte, 'application/json');
    const encoded = await deliver(source, { headers: { ...headers, 'content-encoding': 'gzip' }, body });
    expect([encoded.status, encoded.body.code]).toEqual([415, 'unsupported_media_type']);
    expect(await stored()).toBe(0);
    const identity = await deliver(source, { headers: { ...headers, 'content-encoding': 'identity' }, body });
    expect(identity.status).toBe(202);
  });

  it('are no business of other routes', async () => {
    const { status, body } = await tenant.request('POST', '/events', 'a=1', {
      'content-type': 'application/x-www-form-urlencoded',
    });
    expect([status, body.code]).toEqual([415, 'unsupported_media_type']);
  });
});

/** The library reads bytes as UTF-8, so what is none has to be verified by hand, as the specification says. */
function expectPosthornsSignature({ body, headers }: Arrival): void {
  const given = headers as Record<string, string>;
  const id = given['webhook-id']!;
  if (body.equals(Buffer.from(body.toString()))) {
    const webhook = new Webhook(subscriptionSecret);
    expect(() => webhook.verify(body, given, { jsonParse: false })).not.toThrow();
  }
  const key = Buffer.from(subscriptionSecret.slice('whsec_'.length), 'base64');
  const signed = createHmac('sha256', key).update(`${id}.${given['webhook-timestamp']}.`).update(body);
  expect(given['webhook-signature']).toBe(`v1,${signed.digest('base64')}`);
}

function isJson(body: Buffer): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body));
    return true;
  } catch {
    return false;
  }
}

describe('a source that does not take it', () => {
  const send = (source: Source) =>
    deliver(source, signedPlainly(source.secret, Buffer.from(`"${randomUUID()}"`)));

  it('is not found where there is none, where it is switched off, and where it was deleted', async () => {
    for (const id of [uuidV7(Date.now()), 'no-id', tenant.id]) {
      const answer = await send({ id, secret: 'any' });
      expect([answer.status, answer.body.code], id).toEqual([404, 'not_found']);
    }
    const source = await sourceOf('hmac');
    expect((await send(source)).status).toBe(202);
    await tenant.request('PATCH', `/sources/${source.id}`, { is_active: false });
    expect((await send(source)).status).toBe(404);
    await tenant.request('PATCH', `/sources/${source.id}`, { is_active: true });
    expect((await send(source)).status).toBe(202);
    await tenant.request('DELETE', `/sources/${source.id}`);
    expect((await send(source)).status).toBe(404);
    expect(await stored()).toBe(2);
  });

  it('says that its tenant is suspended, and is not found when that is deleted', async () => {
    const source = await sourceOf('hmac');
    await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { suspended: true });
    const suspended = await send(source);
    expect([suspended.status, suspended.body.code]).toEqual([403, 'tenant_suspended']);
    await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { suspended: false });
    expect((await send(source)).status).toBe(202);
    expect(await stored()).toBe(1);
    await posthorn.admin.request('DELETE', `/tenants/${tenant.id}`);
    expect((await send(source)).status).toBe(404);
  });

  it('may be for some addresses alone', async () => {
    const elsewhere = await sourceOf('hmac', {}, { allowed_ips: ['192.0.2.0/24'] });
    const refused = await send(elsewhere);
    expect([refused.status, refused.body.code]).toEqual([403, 'ip_not_allowed']);
    const here = await sourceOf('hmac', {}, { allowed_ips: ['192.0.2.0/24', '127.0.0.0/8', '::1/128'] });
    expect((await send(here)).status).toBe(202);
    expect(await stored()).toBe(1);
  });

  it.each<[string, number, (path: string) => Promise<Answer>]>([
    ['switched off', 404, (path) => tenant.request('PATCH', path, { is_active: false })],
    ['deleted', 404, (path) => tenant.request('DELETE', path)],
    ['rotated', 401, (path) => tenant.request('POST', `${path}/rotate-secret`, { overlap_seconds: 0 })],
    [
      'suspended with its tenant',
      403,
      () => posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { suspended: true }),
    ],
  ])('may be %s while a body is on its way, and then takes it no more', async (_, status, revoke) => {
    const source = await sourceOf('hmac');
    expect((await send(source)).status).toBe(202);
    const { headers } = signedPlainly(source.secret, Buffer.from('{}'));
    const sending = httpRequest(`${posthorn.url}/api/v1/webhooks/receive/${source.id}`, {
      method: 'POST',
      headers: { ...headers, 'content-length': 2, expect: '100-continue' },
    });
    sending.flushHeaders();
    // It is sent when the head has been looked at.
    await once(sending, 'continue');
    expect((await revoke(`/sources/${source.id}`)).status).toBeLessThan(300);
    sending.end('{}');
    const [answer] = (await once(sending, 'response')) as [IncomingMessage];
    answer.resume();
    expect(answer.statusCode).toBe(status);
    expect(await stored()).toBe(1);
  });

  it('leaves what a flood of forgeries takes to the keys of its tenant', async () => {
    const limit = { per_second: 1, burst: 5 };
    await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, { rate_limit: limit });
    const source = await sourceOf('hmac');
    const forgeries = await Promise.all(
      Array.from({ length: 20 }, () => deliver(source, signedPlainly('another', Buffer.from('{}')))),
    );
    const limited = forgeries.filter(({ status }) => status === 429);
    expect(limited.length).toBeGreaterThan(10);
    expect(limited[0]!.body.code).toBe('rate_limited');
    expect(Number(limited[0]!.headers['retry-after'])).toBeGreaterThan(0);
    expect((await tenant.request('GET', '/events')).status).toBe(200);
  });

  it('is counted, by provider and reason', async () => {
    const source = await sourceOf('github');
    const { headers, body } = await SENDERS[0]!.send('delivery-1');
    const { 'x-hub-signature-256': _, ...unsigned } = headers;
    const counts = async () => {
      const text = await freshMetrics(posthorn.anonymous);
      const count = (reason: string) =>
        Number(
          new RegExp(
            `^webhook_source_refused_total\\{provider="github",reason="${reason}".*\\} (\\d+)$`,
            'm',
          ).exec(text)?.[1] ?? 0,
        );
      return [count('signature_missing'), count('signature_invalid')] as [number, number];
    };
    const [missing, invalid] = await counts();
    await deliver(source, { headers: unsigned, body });
    await deliver(source, { headers, body });
    await waitFor(async () => String(await counts()) === String([missing + 1, invalid + 1]), {
      what: 'both refusals to be counted',
    });
  });
});

it('takes a copy of a signed request without an id for the same event', async () => {
  const source = await sourceOf('hmac', { signed: 'timestamp.body', timestamp_header: 'X-Time' });
  const sentAt = (seconds: number) => {
    const { headers } = signedPlainly(source.secret, Buffer.from(`${seconds}.{}`));
    return { headers: { 'x-time': String(seconds), ...headers }, body: Buffer.from('{}') };
  };
  const now = Math.floor(Date.now() / 1_000);
  const first = await deliver(source, sentAt(now));
  expect(first.status, first.text).toBe(202);
  const copy = await deliver(source, sentAt(now));
  expect([copy.status, copy.body.id]).toEqual([200, first.body.id]);
  expect((await deliver(source, sentAt(now + 1))).status).toBe(202);
  expect(await stored()).toBe(2);
});

describe('what the head of a request tells', () => {
  /** Announces a body and waits to be asked for it: an answer before that is one for which none was read. */
  const announced = async (path: string, headers: Record<string, string>): Promise<number> => {
    const sending = httpRequest(`${posthorn.url}/api/v1${path}`, {
      method: 'POST',
      headers: { ...headers, 'content-length': 1_000_000, expect: '100-continue' },
    });
    sending.on('error', () => undefined);
    sending.flushHeaders();
    const status = await Promise.race([
      once(sending, 'continue').then(() => 100),
      once(sending, 'response').then(([answer]) => (answer as IncomingMessage).statusCode ?? 0),
    ]);
    sending.destroy();
    return status;
  };

  it.each<[string, Record<string, unknown>, Record<string, string>, number]>([
    ['hmac', {}, {}, 401],
    ['hmac', {}, { 'x-webhook-signature': 'short' }, 401],
    ['hmac', {}, { 'x-webhook-signature': '0'.repeat(64) }, 100],
    ['slack', {}, { 'x-slack-signature': `v0=${'0'.repeat(64)}`, 'x-slack-request-timestamp': '1' }, 401],
    ['bearer', {}, { authorization: 'Bearer of-another-secret' }, 401],
    ['gitlab', {}, { 'x-gitlab-token': 'of-another-secret' }, 401],
    ['twilio', { url: 'https://example.com/' }, { 'x-twilio-signature': `${'A'.repeat(27)}=` }, 413],
    ['stripe', {}, { 'stripe-signature': `t=${Math.floor(Date.now() / 1_000)},v0=00` }, 401],
  ])(
    'is looked at before the body is read: %s %o with %o is %i',
    async (provider, settings, headers, status) => {
      const { id } = await sourceOf(provider, settings);
      expect(await announced(`/webhooks/receive/${id}`, headers)).toBe(status);
    },
  );
});

it('charges a body by its size, before it is hashed', async () => {
  await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, {
    rate_limit: { per_second: 1, burst: 20 },
  });
  const source = await sourceOf('hmac');
  const sent = (bytes: number) => signedPlainly('another secret', Buffer.alloc(bytes));
  // The first takes 16 of 20, and the second would take as many.
  expectUnsigned(await deliver(source, sent(256 * 1_024)));
  const limited = await deliver(source, sent(256 * 1_024));
  expect([limited.status, limited.body.code]).toEqual([429, 'rate_limited']);
  expect(Number(limited.headers['retry-after'])).toBeGreaterThan(0);
  const other = await sourceOf('github');
  expectUnsigned(await deliver(other, sent(1)));
});

describe('one delivery', () => {
  it('is stored once, however many copies come at once', async () => {
    const sender = SENDERS[0]!;
    const source = await sourceOf(sender.provider, {}, { secret: sender.secret });
    const copies = await Promise.all(
      Array.from({ length: 200 }, async (_, copy) =>
        deliver(source, await sender.send('the-same', String(copy))),
      ),
    );
    const codes = copies.map(({ status }) => status).sort();
    expect(codes).toEqual([...Array<number>(199).fill(200), 202]);
    expect(new Set(copies.map(({ body }) => body.id as string)).size).toBe(1);
    expect(await stored()).toBe(1);
    await simulator.waitFor(() => simulator.countOn(mailbox) === 1);
  });

  it('is two where two sources got it', async () => {
    const sender = SENDERS[0]!;
    for (const name of ['one', 'another']) {
      const source = await sourceOf(sender.provider, {}, { name, secret: sender.secret });
      expect((await deliver(source, await sender.send('the-same'))).status).toBe(202);
    }
    expect(await stored()).toBe(2);
  });

  it('is acknowledged after the commit, and not before', async () => {
    const source = await sourceOf('hmac');
    const locking = new pg.Client({ connectionString: posthorn.databaseUrl });
    await locking.connect();
    await locking.query('begin; lock table event in access exclusive mode');
    let answered = false;
    const answer = deliver(source, signedPlainly(source.secret, Buffer.from('{}'))).finally(() => {
      answered = true;
    });
    try {
      await waitFor(
        async () => {
          const [row] = await rows.query<{ count: number }>(
            `select count(*)::int as count from pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock' and query like '%with input as%'`,
          );
          return row!.count > 0;
        },
        { what: 'the commit to wait' },
      );
      expect(answered).toBe(false);
    } finally {
      await locking.query('commit');
      await locking.end();
    }
    expect((await answer).status).toBe(202);
    expect(await stored()).toBe(1);
  });
});

it('acknowledges nothing while Postgres is away, and takes it when it is back', async () => {
  const database = await createDatabase();
  const proxy = await startTcpProxy(database.url);
  const behind = await startPosthorn({ databaseUrl: proxy.url });
  try {
    const one = await behind.tenant();
    const secret = 'a secret of the source';
    const { body: source } = await one.request('POST', '/sources', { name: 'one', provider: 'hmac', secret });
    const send = () => {
      const { headers, body } = signedPlainly(secret, Buffer.from(`"${randomUUID()}"`), 'application/json');
      return behind.anonymous.request('POST', `/webhooks/receive/${source.id}`, body, headers);
    };
    expect((await send()).status).toBe(202);
    await proxy.cut();
    const away = await send();
    expect([away.status, away.body.code], away.text).toEqual([503, 'unavailable']);
    expect(away.headers['retry-after']).toBeDefined();
    proxy.mend();
    await waitFor(async () => (await send()).status === 202, { what: 'the source to take it again' });
    const { body: events } = await one.request('GET', '/events');
    expect(events.data).toHaveLength(2);
  } finally {
    await behind.stop();
    await proxy.close();
    await database.drop();
  }
});

it('is away, to be tried again, while the secret of its source cannot be read', async () => {
  const source = await sourceOf('hmac');
  const sent = signedPlainly(source.secret, Buffer.from('{}'));
  expect((await deliver(source, sent)).status).toBe(202);
  await rows.query('update source set secret = $2 where id = $1', [source.id, 'enc:v1:00000000:AAAA']);
  await waitFor(async () => (await deliver(source, sent)).status === 503, { what: 'the change to be heard' });
  const { body, headers } = await deliver(source, sent);
  expect(body).toMatchObject({ code: 'unavailable', detail: expect.stringContaining('rotate-secret') });
  expect(headers['retry-after']).toBe('60');
});

describe('POST /webhooks/ingest', () => {
  const PATH = '/webhooks/ingest';
  let secret: string;
  beforeEach(async () => {
    ({ secret } = await sourceOf('posthorn'));
  });
  const send = (text: string, headers: Record<string, string> = {}) => {
    const signed = signedForIngest(tenant.id, secret, text);
    return post(PATH, { ...signed, headers: { ...signed.headers, ...headers } });
  };

  it('takes the whole body as the payload, byte for byte', async () => {
    const text = '{ "event_type": "order.paid",\n "order": 12345678901234567890 }';
    const answer = await send(text);
    expect(answer.status, answer.text).toBe(202);
    expect(answer.body).toMatchObject({ event_type: 'order.paid', duplicate: false, deliveries: 1 });
    expect(answer.body.event_id).toBe(answer.body.id);
    const got = await arrival();
    expect(got.body.toString()).toBe(text);
    expect(got.headers['content-type']).toBe('application/json');
    const shown = await tenant.request('GET', `/events/${answer.body.id}`);
    expect(shown.text).toContain(`"payload":${text}`);
  });

  it('leaves the keys of what sources receive to those', async () => {
    const answer = await send('{"idempotency_key":"source:1:2"}');
    expect(answer.status).toBe(422);
    expect(answer.body.errors).toMatchObject([{ path: 'idempotency_key' }]);
  });

  it.each([
    ['{"event_type":"a.b","type":"c","event":"d"}', 'a.b'],
    ['{"type":"c","event":"d"}', 'c'],
    ['{"event":"d"}', 'd'],
    ['{"what":"ever"}', 'webhook'],
    ['[1]', 'webhook'],
  ])('reads in %s the type %s', async (text, type) => {
    expect((await send(text)).body.event_type).toBe(type);
  });

  it('takes the key of the body, and none that is not signed', async () => {
    const inBody = '{"type":"a","idempotency_key":"order-42"}';
    const first = await send(inBody);
    expect(first.status, first.text).toBe(202);
    const again = await send(inBody);
    expect([again.status, again.body.id, again.body.duplicate]).toEqual([200, first.body.id, true]);
    const { body: found } = await tenant.request('GET', '/events?idempotency_key=order-42');
    expect(found.data.map(({ id }: { id: string }) => id)).toEqual([first.body.id]);
    const other = await send('{"type":"a","idempotency_key":"order-42","more":1}');
    expect([other.status, other.body.code]).toEqual([409, 'idempotency_conflict']);

    const byHeader = await send('{"type":"b"}', { 'idempotency-key': 'order-43' });
    expect(byHeader).toMatchObject({ status: 422, body: { errors: [{ path: 'Idempotency-Key' }] } });
    expect(byHeader.body.errors[0].message).toContain('idempotency_key');
    expect((await send(inBody, { 'idempotency-key': 'order-43' })).status).toBe(200);
    expect(await stored()).toBe(1);
  });

  it('refuses what is not JSON, and what nobody signed, and says how to sign', async () => {
    const broken = await send('{"a":1,}');
    expect([broken.status, broken.body.code], broken.text).toEqual([400, 'malformed_json']);
    const text = '{"type":"a"}';
    const right = signedForIngest(tenant.id, secret, text);
    const stranger = await posthorn.tenant();
    const { 'x-webhook-signature': _signature, ...unsigned } = right.headers;
    const { 'x-webhook-timestamp': _timestamp, ...untimed } = right.headers;
    const { 'x-tenant-id': _tenant, ...nobodys } = right.headers;
    for (const [headers, hint] of [
      [unsigned, /X-Webhook-Signature/i],
      [untimed, /X-Webhook-Timestamp/i],
      [nobodys, /POST \/sources.*X-Tenant-ID.*X-Webhook-Signature/s],
      [{ ...right.headers, 'x-tenant-id': stranger.id }, /POST \/sources/],
      [{ ...right.headers, 'x-tenant-id': uuidV7(Date.now()) }, /POST \/sources/],
      [{ ...right.headers, 'x-tenant-id': 'nobody' }, /POST \/sources/],
      [signedForIngest(tenant.id, 'another secret', text).headers, /./],
    ] as const) {
      const answer = await post(PATH, { headers, body: right.body });
      expectUnsigned(answer);
      expect(answer.body.detail).toMatch(hint);
    }
    expect(await stored()).toBe(0);
  });
});
