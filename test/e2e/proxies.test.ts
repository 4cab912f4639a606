import { afterAll, expect, it } from 'vitest';
import { Posthorn, startPosthorn } from '../support/posthorn.js';

/** Where a request comes from, as the allow-list of a tenant sees it. */

const running = new Map<string, Promise<Posthorn>>();
afterAll(async () => {
  for (const posthorn of running.values()) await (await posthorn).stop();
});

function behind(trusted: string): Promise<Posthorn> {
  const known = running.get(trusted) ?? startPosthorn({ env: { TRUSTED_PROXIES: trusted } });
  running.set(trusted, known);
  return known;
}

/** The address that a refusal by the allow-list names. */
async function addressSeen(trusted: string, forwardedFor: string): Promise<string> {
  const posthorn = await behind(trusted);
  const tenant = await posthorn.tenant();
  const allowed = await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, {
    allowed_ips: ['192.0.2.255/32'],
  });
  expect(allowed.status, allowed.text).toBe(200);
  const { body, text } = await tenant.request('GET', '/events', undefined, {
    'x-forwarded-for': forwardedFor,
  });
  expect(body.code, text).toBe('ip_not_allowed');
  return /from (\S*)\.$/.exec(body.detail)![1]!;
}

it.each([
  ['no proxy is trusted', '', '203.0.113.7', '127.0.0.1'],
  ['another proxy is trusted', '10.0.0.0/8', '203.0.113.7', '127.0.0.1'],
  ['the proxy is trusted', '127.0.0.0/8', '203.0.113.7', '203.0.113.7'],
  ['the proxy is trusted in its mapped form', '::ffff:127.0.0.0/104', '203.0.113.7', '203.0.113.7'],
  ['a client says that it is somebody else', '127.0.0.1', '192.0.2.255, 203.0.113.7', '203.0.113.7'],
  [
    'there are several proxies',
    '127.0.0.1,10.0.0.0/8',
    '192.0.2.255, 203.0.113.7, 10.1.1.1, 10.2.2.2',
    '203.0.113.7',
  ],
  [
    'one of several proxies is unknown',
    '127.0.0.1,10.0.0.0/8',
    '203.0.113.7, 172.16.0.1, 10.2.2.2',
    '172.16.0.1',
  ],
  ['only proxies are in it', '127.0.0.1,10.0.0.0/8', '10.1.1.1, 10.2.2.2', '10.1.1.1'],
  ['the address is of IPv6', '127.0.0.1', '2001:db8::7', '2001:db8::7'],
  ['the address is a mapped one', '127.0.0.1', '::ffff:203.0.113.7', '203.0.113.7'],
  ['there is a port', '127.0.0.1', '203.0.113.7:51234', '203.0.113.7'],
  ['there are brackets and a port', '127.0.0.1', '[2001:db8::7]:443', '2001:db8::7'],
  ['the last entry is no address', '127.0.0.1', '203.0.113.7, unknown', '127.0.0.1'],
  ['an entry before a proxy is no address', '127.0.0.1,10.0.0.0/8', '192.0.2.255, <b>, 10.2.2.2', '10.2.2.2'],
  ['it is empty', '127.0.0.1', '', '127.0.0.1'],
  ['it is all commas', '127.0.0.1', ',,,', '127.0.0.1'],
])(
  'when %s (TRUSTED_PROXIES=%s, X-Forwarded-For: %s) a request comes from %s',
  async (_, trusted, header, address) => {
    expect(await addressSeen(trusted, header)).toBe(address);
  },
);

it('tells browsers to stay with TLS only when a trusted proxy says that it was used', async () => {
  const hsts = async (trusted: string, proto: string, path = '/ready') =>
    (await (await behind(trusted)).anonymous.request('GET', path, undefined, { 'x-forwarded-proto': proto }))
      .headers['strict-transport-security'];
  expect(await hsts('127.0.0.0/8', 'https')).toBe('max-age=31536000');
  expect(await hsts('127.0.0.0/8', 'https', '/%zz'), 'where no route is reached').toBe('max-age=31536000');
  expect(await hsts('127.0.0.0/8', 'http')).toBeUndefined();
  expect(await hsts('10.0.0.0/8', 'https')).toBeUndefined();
  expect(await hsts('', 'https')).toBeUndefined();
});
