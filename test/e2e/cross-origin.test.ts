import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Answer, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { answersIn, sendRaw } from '../support/raw-http.js';

const OURS = 'https://app.example.com';
const ALSO_OURS = 'http://localhost:3000';
const EXPOSED =
  'allow, idempotency-replayed, location, ratelimit, ratelimit-policy, retry-after, x-request-id';
const PREFLIGHT = {
  'access-control-request-method': 'POST',
  'access-control-request-headers': 'authorization,content-type,idempotency-key',
};

const running: Posthorn[] = [];
async function start(env: Record<string, string> = {}): Promise<Posthorn> {
  const posthorn = await startPosthorn({ env });
  running.push(posthorn);
  return posthorn;
}
afterAll(async () => {
  for (const posthorn of running) await posthorn.stop();
});

const corsHeaders = ({ headers }: Answer): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(headers).filter(([name]) => name === 'vary' || name.startsWith('access-control-')),
  );

describe('without CORS_ORIGINS', () => {
  it('no page of another origin may read anything', async () => {
    const posthorn = await start();
    const tenant = await posthorn.tenant();
    for (const answer of [
      await posthorn.anonymous.request('OPTIONS', '/events', undefined, { origin: OURS, ...PREFLIGHT }),
      await tenant.request('GET', '/events', undefined, { origin: OURS }),
      await tenant.request('GET', '/events', undefined, { origin: 'null' }),
    ]) {
      expect(corsHeaders(answer)).toEqual({});
    }
  });
});

describe('with CORS_ORIGINS', () => {
  let posthorn: Posthorn;
  let tenant: TestTenant;
  beforeAll(async () => {
    posthorn = await start({ CORS_ORIGINS: `${OURS}, ${ALSO_OURS}` });
    tenant = await posthorn.tenant();
  });

  it.each([OURS, ALSO_OURS])('answers a preflight of %s before it asks for a key', async (origin) => {
    const answer = await posthorn.anonymous.request('OPTIONS', '/events', undefined, {
      origin,
      ...PREFLIGHT,
    });
    expect(answer).toMatchObject({ status: 204, text: '' });
    expect(corsHeaders(answer)).toEqual({
      'access-control-allow-origin': origin,
      'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE',
      'access-control-allow-headers': 'authorization, content-type, idempotency-key, x-api-key, x-request-id',
      'access-control-expose-headers': EXPOSED,
      'access-control-max-age': '600',
      vary: 'Origin',
    });
    expect(answer.headers).toMatchObject({ 'x-content-type-options': 'nosniff' });
    expect(answer.headers['x-request-id']).toBeTruthy();
  });

  it('lets its pages read answers, refusals too, and asks for no cookies', async () => {
    for (const client of [tenant, posthorn.anonymous]) {
      const answer = await client.request('GET', '/events', undefined, { origin: OURS });
      expect(answer.status).toBe(client === tenant ? 200 : 401);
      expect(corsHeaders(answer)).toEqual({
        'access-control-allow-origin': OURS,
        'access-control-expose-headers': EXPOSED,
        vary: 'Origin',
      });
    }
  });

  it.each([
    'https://evil.example',
    'http://app.example.com',
    'https://app.example.com:8443',
    'https://app.example.com.evil.example',
    'https://evil-app.example.com',
    'https://app.example.com/',
    'HTTPS://APP.EXAMPLE.COM',
    'null',
    '*',
    '',
  ])('lets no page of "%s"', async (origin) => {
    for (const answer of [
      await posthorn.anonymous.request('OPTIONS', '/events', undefined, { origin, ...PREFLIGHT }),
      await tenant.request('GET', '/events', undefined, { origin }),
    ]) {
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
      expect(answer.headers).not.toHaveProperty('access-control-allow-credentials');
      expect(answer.headers['vary']).toBe('Origin');
    }
  });

  it('still wants a key for what a preflight allowed', async () => {
    const body = { event_type: 'a', payload: 1 };
    const answer = await posthorn.anonymous.request('POST', '/events', body, { origin: OURS });
    expect(answer.status).toBe(401);
  });

  describe('OPTIONS', () => {
    const ask = async (head: string, headers = '') =>
      answersIn(
        await sendRaw(posthorn.url, `${head}\r\nconnection: close\r\norigin: ${OURS}\r\n${headers}\r\n`),
      );
    const preflight = 'access-control-request-method: POST\r\n';
    const PATH = 'OPTIONS /api/v1/events';

    it.each([
      ['two hosts', `${PATH} HTTP/1.1\r\nhost: a\r\nHOST: b`, '', 400],
      ['the same host twice', `${PATH} HTTP/1.1\r\nhost: a\r\nhost: a`, '', 400],
      ['no host', `${PATH} HTTP/1.1`, '', 400],
      ['chunks in HTTP/1.0', `${PATH} HTTP/1.0\r\ntransfer-encoding: chunked`, '\r\n0\r\n', 400],
      ['HTTP/2.0', `${PATH} HTTP/2.0\r\nhost: a`, '', 400],
      [
        'a length and chunks',
        `${PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked`,
        '',
        400,
      ],
      ['two lengths', `${PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2`, '', 400],
      ['101 headers', `${PATH} HTTP/1.1\r\nhost: a`, 'a: b\r\n'.repeat(98), 431],
      ['101 parameters', `${PATH}?${'a=b&'.repeat(100)}a=b HTTP/1.1\r\nhost: a`, '', 422],
    ])('with %s is refused as any other request', async (_, head, headers, status) => {
      for (const more of ['', preflight]) {
        const [answer, ...others] = await ask(head, more + headers);
        expect(others).toEqual([]);
        expect(answer).toMatchObject({ status, headers: { connection: 'close' } });
        expect(answer!.headers['content-type']).toMatch(/^application\/problem\+json/);
      }
    });

    it('for everything is answered like any other', async () => {
      const [answer] = await ask('OPTIONS * HTTP/1.1\r\nhost: a');
      expect(answer).toMatchObject({ status: 404, headers: { 'x-content-type-options': 'nosniff' } });
      expect(answer!.headers['x-request-id']).toBeTruthy();
    });
  });
});
