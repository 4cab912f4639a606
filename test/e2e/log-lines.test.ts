import { createServer, Server } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type BuiltService, startBuiltService } from '../support/built-service.js';
import { type Client, client } from '../support/posthorn.js';
import { sendRaw } from '../support/raw-http.js';
import { waitFor } from '../support/wait-for.js';

/** Whatever anybody says to the service, its log stays one JSON object a line, and every line its own. */

const FORGED = '{"level":"info","msg":"forged"}';
const EVIL = [
  `\n${FORGED}\n`,
  `\r\n${FORGED}\r\n`,
  `\u2028${FORGED}\u2029`,
  `\u0085${FORGED}\u000b`,
  `"}\n${FORGED}`,
  '\\n\\u000a',
  '\u001b[2J\u001b[31mred\u001b]0;title\u0007',
  '\u009b31m',
  '\u007f\b\b\b',
  '\u202egnp.exe',
];

let service: BuiltService;
let tenant: Client;
/** A subscriber that answers with what no HTTP server would. */
let subscriber: Server;
let subscriberUrl: string;

beforeAll(async () => {
  service = await startBuiltService({ env: { LOG_LEVEL: 'trace' } });
  tenant = await service.tenant();
  subscriber = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.once('data', (request) => {
      const turn = Number(/x-turn: (\d+)/i.exec(request.toString('latin1'))?.[1] ?? 0);
      const evil = EVIL[turn % EVIL.length]!;
      const line = evil.replaceAll(/[\r\n]/g, ' ');
      socket.end(
        turn < EVIL.length
          ? `HTTP/1.1 500 ${line}\r\nretry-after: ${line}\r\ncontent-type: ${line}\r\n\r\n${evil}`
          : `HTTP/1.1 ${evil}`,
      );
    });
  });
  await new Promise<void>((resolve) => subscriber.listen(0, '127.0.0.1', resolve));
  subscriberUrl = `http://127.0.0.1:${(subscriber.address() as AddressInfo).port}`;
});
afterAll(async () => {
  subscriber.close();
  await service.stop();
});

it('says what it has to say in lines that nobody else can write', async () => {
  for (const evil of EVIL) {
    const latin1 = Buffer.from(evil, 'utf8').toString('latin1');
    for (const name of [
      'x-request-id',
      'idempotency-key',
      'user-agent',
      'authorization',
      'x-forwarded-for',
      'host',
    ]) {
      await sendRaw(
        service.url,
        `GET /api/v1/events HTTP/1.1\r\nhost: a\r\n${name}: ${latin1}\r\nconnection: close\r\n\r\n`,
      );
    }
    await sendRaw(service.url, `GET /${latin1} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`);
    await tenant.request('GET', `/${encodeURIComponent(evil)}?${encodeURIComponent(evil)}`);
    await client(service.url, 'ph_unknown').request('GET', '/events');
    await service.admin.request('POST', '/tenants', { name: evil });
    await tenant.request('POST', '/api-keys', { name: evil, scopes: ['read'] });
    await tenant.request('POST', '/events', { event_type: evil, payload: evil });
    await tenant.request('POST', '/events', { event_type: 'a', payload: evil, event_id: evil });
    await tenant.request('POST', '/events', { event_type: 'a', payload: evil, idempotency_key: evil });
    await tenant.request('POST', '/subscriptions', { target_url: `${subscriberUrl}/${evil}` });
    await tenant.request('POST', '/subscriptions', { target_url: subscriberUrl, description: evil });
  }
  for (let turn = 0; turn < 2 * EVIL.length; turn += 1) {
    await tenant.request('POST', '/subscriptions', {
      target_url: subscriberUrl,
      event_types: ['hit'],
      headers: { 'x-turn': String(turn) },
      retry_policy: { schedule: [] },
    });
  }
  await tenant.request('POST', '/events', { event_type: 'hit', payload: EVIL }, { 'x-request-id': 'mine' });
  const attempted = () => service.stdout().match(/"request_id":"mine".*delivery\.attempted/g) ?? [];
  await waitFor(() => attempted().length >= 2 * EVIL.length, { what: 'every attempt to be logged' });

  const lines = service.stdout().split('\n');
  expect(lines.pop()).toBe('');
  for (const line of lines) {
    // eslint-disable-next-line no-control-regex -- that is what is looked for
    expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
    expect(JSON.parse(line)).toMatchObject({ level: expect.any(String), service: 'posthorn', role: 'all' });
    expect(JSON.parse(line)).not.toMatchObject({ msg: 'forged' });
  }
  expect(service.stderr()).not.toContain('forged');
});

it('names a source that refuses something, and tells nothing of what that was', async () => {
  const { body: source } = await tenant.request('POST', '/sources', { name: 'one', provider: 'github' });
  const { status } = await client(service.url).request(
    'POST',
    `/webhooks/receive/${source.id}`,
    { what: 'a-body-of-nobody' },
    {
      'x-request-id': 'refused',
      'x-hub-signature-256': `sha256=${'ab'.repeat(32)}`,
      'x-github-event': 'an-event-of-nobody',
      'user-agent': 'an-agent-of-nobody',
    },
  );
  expect(status).toBe(401);
  const about = () =>
    service
      .stdout()
      .split('\n')
      .filter((line) => line.includes('"request_id":"refused"'));
  const [line, ...others] = await waitFor(() => about().length > 0 && about(), { what: 'the refusal' });
  expect(others).toEqual([]);
  expect(JSON.parse(line!)).toMatchObject({
    msg: 'source.refused',
    source_id: source.id,
    provider: 'github',
    reason: 'signature_invalid',
  });
  expect(service.stdout()).not.toMatch(/of-nobody|abababab/);
});
