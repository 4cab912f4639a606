import { hash } from 'node:crypto';
import { expect, it } from 'vitest';
import { parseOperatorKeys } from '../../../src/domain/operator-key.js';
import { loadConfig } from '../../../src/config/config.js';

const KEY = '0f3b9a7c5d2148e6';
const OTHER = '6e8412d5c7a9b3f0';
const sha256 = (key: string): string => hash('sha256', key, 'hex');

it('reads names, keys, hashes and addresses', () => {
  const [alice, deploy] = parseOperatorKeys(
    ` alice=${KEY}, deploy=sha256:${sha256(OTHER)}  192.0.2.0/24 2001:db8::/32,`,
  );
  expect(alice).toEqual({ name: 'alice', sha256: hash('sha256', KEY, 'base64'), allowedIps: null });
  expect(deploy).toMatchObject({ name: 'deploy', sha256: hash('sha256', OTHER, 'base64') });
  expect(
    ['192.0.2.7', '2001:db8::1', '::ffff:192.0.2.7', '192.0.3.1'].map((ip) => deploy!.allowedIps!.has(ip)),
  ).toEqual([true, true, true, false]);
});

it.each([
  ['no name', KEY, /entry 1/],
  ['an empty name', `=${KEY}`, /entry 1/],
  ['a name with a space', `a b=${KEY}`, /entry 1/],
  ['no key', 'alice=', /"alice": it must have 16/],
  ['a short key', 'alice=hunter2', /"alice": it must have 16/],
  ['a weak key', `alice=${KEY}, bob=aaaaaaaaaaaaaaaa`, /"bob": it must not .*openssl/],
  ['half a hash', `alice=sha256:${sha256(KEY).slice(1)}`, /64 hexadecimal digits/],
  ['a range that is none', `alice=${KEY} 10.0.0.0/33`, /"alice".*10\.0\.0\.0\/33/],
  ['a name twice', `alice=${KEY},alice=${OTHER}`, /"alice" twice/],
  ['a key twice', `alice=${KEY},bob=sha256:${sha256(KEY)}`, /"alice" and "bob"/],
])('refuses %s', (_, text, message) => {
  expect(() => parseOperatorKeys(text)).toThrow(message);
  expect(() => parseOperatorKeys(text)).not.toThrow(new RegExp(`${KEY}|hunter2`));
});

it.each([
  ['its name', { ADMIN_API_KEY: KEY, ADMIN_API_KEYS: `admin=${OTHER}` }],
  ['its key', { ADMIN_API_KEY: KEY, ADMIN_API_KEYS: `alice=${KEY}` }],
])('refuses to give %s of ADMIN_API_KEY to another one', (_, env) => {
  expect(() => loadConfig(env)).toThrow(/ADMIN_API_KEYS, with "admin" of ADMIN_API_KEY, must not/);
});

it('lists the key of ADMIN_API_KEY as "admin"', () => {
  const { allOperatorKeys } = loadConfig({ ADMIN_API_KEY: KEY, ADMIN_API_KEYS: `alice=${OTHER}` });
  expect(allOperatorKeys.map(({ name }) => name)).toEqual(['admin', 'alice']);
});
