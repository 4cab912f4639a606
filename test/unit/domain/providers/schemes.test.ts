import { createHmac } from 'node:crypto';
import { Webhook } from 'standardwebhooks';
import Stripe from 'stripe';
import twilio from 'twilio';
import { describe, expect, it } from 'vitest';
import { judge, type SourceRules } from '../../../../src/domain/providers/judge.js';
import { AT_SECONDS, PUBLIC_URL } from './senders.js';

/** What one provider does and no other. */

const SECRET = 'a secret of the source';
const OTHER = 'another secret';

interface Given extends Partial<Omit<SourceRules, 'provider'>> {
  body?: string;
  url?: string;
}

function reasonOf(
  provider: SourceRules['provider'],
  headers: Record<string, string>,
  { body = '{}', url = '/', secrets = [SECRET], settings = {}, publicUrl = PUBLIC_URL }: Given = {},
): string {
  const request = { method: 'POST', url, headers, body: Buffer.from(body) };
  const verdict = judge(request, { provider, settings, secrets, publicUrl }, AT_SECONDS * 1_000);
  return verdict.kind === 'refused' ? verdict.reason : verdict.kind;
}

describe('a weak secret that was stored before they were refused', () => {
  const standard = { 'webhook-id': 'msg_1', 'webhook-timestamp': String(AT_SECONDS) };
  const signedBy = (key: string | Buffer) => ({
    ...standard,
    'webhook-signature': `v1,${createHmac('sha256', key).update(`msg_1.${AT_SECONDS}.{}`).digest('base64')}`,
  });
  const hex = (key: string) => createHmac('sha256', key).update('{}').digest('hex');

  it.each([
    ['gitlab', 'whsec_!!!!', signedBy('')],
    ['gitlab', 'whsec_!!!!', { 'x-gitlab-token': 'whsec_!!!!' }],
    ['standard-webhooks', 'whsec_', signedBy('')],
    ['svix', 'whsec_AAAA', signedBy(Buffer.alloc(3))],
    ['standard-webhooks', 'fifteen letters', signedBy('fifteen letters')],
    ['github', 'fifteen letters', { 'x-hub-signature-256': `sha256=${hex('fifteen letters')}` }],
    ['hmac', '', { 'x-webhook-signature': hex('') }],
    ['bearer', 'fifteen-letters', { authorization: 'Bearer fifteen-letters' }],
  ] as const)('of %s, %o, verifies nothing', (provider, secret, headers) => {
    expect(reasonOf(provider, headers, { secrets: [secret] })).toBe('signature_invalid');
  });
});

describe('Stripe', () => {
  const { webhooks } = new Stripe('sk_test_none');
  const signature = (secret: string, timestamp = AT_SECONDS) =>
    webhooks.generateTestHeaderString({ payload: '{}', secret, timestamp });
  const v1 = (secret: string) => /v1=.*/.exec(signature(secret))![0];

  it.each([
    ['a signature for each of two secrets', `${signature(OTHER)},${v1(SECRET)}`, 'event'],
    ['the same the other way round', `${signature(SECRET)},${v1(OTHER)}`, 'event'],
    ['spaces', `t=${AT_SECONDS}, ${v1(SECRET)}`, 'event'],
    ['the time last', `${v1(SECRET)},t=${AT_SECONDS}`, 'event'],
    ['schemes that are not known', `${signature(SECRET)},v0=00,v2=00,x`, 'event'],
    ['the scheme of tests alone', signature(SECRET).replace('v1=', 'v0='), 'malformed'],
    ['two that are wrong', `${signature(OTHER)},${v1('a third')}`, 'signature_invalid'],
    ['no time', v1(SECRET), 'signature_missing'],
    ['a time of another scheme', `t2=${AT_SECONDS},${v1(SECRET)}`, 'signature_missing'],
    ['nothing but commas', ',,,', 'signature_missing'],
  ])('with %s: %s', (_, header, expected) => {
    expect(reasonOf('stripe', { 'stripe-signature': header })).toBe(expected);
  });

  it('tolerates as much as the source says', () => {
    const late = { 'stripe-signature': signature(SECRET, AT_SECONDS - 600) };
    expect(reasonOf('stripe', late)).toBe('timestamp_out_of_tolerance');
    expect(reasonOf('stripe', late, { settings: { tolerance_seconds: 600 } })).toBe('event');
  });
});

describe('Standard Webhooks', () => {
  const secret = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
  const sign = (by: string, id = 'msg_1', options?: { format: 'raw' }) =>
    new Webhook(by, options).sign(id, new Date(AT_SECONDS * 1_000), '{}');
  const headers = (signature: string, id = 'msg_1') => ({
    'webhook-id': id,
    'webhook-timestamp': String(AT_SECONDS),
    'webhook-signature': signature,
  });
  const wrong = sign(`whsec_${Buffer.alloc(32, 8).toString('base64')}`);

  it.each([
    ['the right one last', `${wrong} ${sign(secret)}`, 'event'],
    ['the right one first', `${sign(secret)} ${wrong}`, 'event'],
    ['a version that is not known', `v1a,AAAA ${sign(secret)}`, 'event'],
    ['asymmetric ones alone', 'v1a,AAAA', 'malformed'],
    ['wrong ones', `${wrong} ${wrong}`, 'signature_invalid'],
    ['the version of another', sign(secret).replace('v1,', 'v2,'), 'malformed'],
  ])('with %s: %s', (_, signature, expected) => {
    expect(reasonOf('standard-webhooks', headers(signature), { secrets: [secret] })).toBe(expected);
  });

  it('signs the id as well', () => {
    expect(reasonOf('svix', headers(sign(secret), 'msg_2'), { secrets: [secret] })).toBe('signature_invalid');
    const { 'webhook-id': _, ...without } = headers(sign(secret));
    expect(reasonOf('svix', without, { secrets: [secret] })).not.toBe('event');
  });

  it('may have a secret that is no base64, as those of subscriptions', () => {
    const signature = sign(SECRET, 'msg_1', { format: 'raw' });
    expect(reasonOf('standard-webhooks', headers(signature))).toBe('event');
  });
});

describe('GitLab', () => {
  const signingToken = `whsec_${Buffer.alloc(32, 9).toString('base64')}`;
  const signed = (secret: string) => ({
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(AT_SECONDS),
    'webhook-signature': new Webhook(secret).sign('msg_1', new Date(AT_SECONDS * 1_000), '{}'),
  });
  const both = { ...signed(signingToken), 'x-gitlab-token': 'the-secret-token' };

  it('may send a token and a signature, of which the source knows one', () => {
    expect(reasonOf('gitlab', both, { secrets: ['the-secret-token'] })).toBe('event');
    expect(reasonOf('gitlab', both, { secrets: [signingToken] })).toBe('event');
    expect(reasonOf('gitlab', both, { secrets: [OTHER] })).toBe('signature_invalid');
  });

  it('can go over from one to the other while a secret is rotated', () => {
    const secrets = [signingToken, 'the-secret-token'];
    expect(reasonOf('gitlab', { 'x-gitlab-token': 'the-secret-token' }, { secrets })).toBe('event');
    expect(reasonOf('gitlab', signed(signingToken), { secrets })).toBe('event');
  });
});

describe('Twilio', () => {
  const FORM = { 'content-type': 'application/x-www-form-urlencoded' };
  const form = { Body: 'hello', MessageSid: 'SM1' };
  const body = new URLSearchParams(form).toString();
  const signed = (url: string, parameters: Record<string, unknown> = form) => ({
    ...FORM,
    'x-twilio-signature': twilio.getExpectedTwilioSignature(SECRET, url, parameters),
  });

  it.each([
    ['https://example.com/twilio', 'https://example.com/twilio', 'event'],
    ['https://example.com/twilio', 'https://example.com:443/twilio', 'event'],
    ['http://example.com/twilio', 'http://example.com:80/twilio', 'event'],
    ['https://example.com:8443/twilio?a=b', 'https://example.com/twilio?a=b', 'event'],
    ['https://user:pass@example.com/twilio', 'https://user:pass@example.com:443/twilio', 'event'],
    ['https://[2001:db8::1]/twilio', 'https://[2001:db8::1]:443/twilio', 'event'],
    ["https://example.com/twilio?a='b'", "https://example.com/twilio?a='b'", 'event'],
    ['https://example.com/twilio', 'https://example.com:80/twilio', 'signature_invalid'],
    ['https://example.com/twilio', 'http://example.com/twilio', 'signature_invalid'],
    ['https://example.com/twilio', 'https://example.com/other', 'signature_invalid'],
  ])('was given %s and signed %s: %s', (url, signedUrl, expected) => {
    expect(reasonOf('twilio', signed(signedUrl), { body, settings: { url }, publicUrl: null })).toBe(
      expected,
    );
  });

  it.each([
    ['https://example.com', '/receive/1'],
    ['https://example.com/', '/receive/1?tag=a%20b'],
    ['https://example.com/hooks', '/receive/1'],
  ])('is known to be reached below %s', (publicUrl, url) => {
    const headers = signed(publicUrl.replace(/\/$/, '') + url);
    expect(reasonOf('twilio', headers, { body, url, publicUrl })).toBe('event');
    expect(reasonOf('twilio', headers, { body, url: `${url}1`, publicUrl })).toBe('signature_invalid');
    expect(reasonOf('twilio', headers, { body, url, publicUrl: null })).toBe('signature_invalid');
  });

  it.each(['https://example.com/twilio', 'https://example.com/twilio?a=b'])(
    'adds the hash of JSON to %s, wherever that is let in',
    (url) => {
      const json = '{"a":1}';
      const hash = twilio.getExpectedBodyHash(json);
      const signedUrl = `${url}${url.includes('?') ? '&' : '?'}bodySHA256=${hash}`;
      const headers = { ...signed(signedUrl, {}), 'content-type': 'application/json' };
      const options = { body: json, settings: { url }, publicUrl: null };
      expect(reasonOf('twilio', headers, { ...options, url: `/receive/1?bodySHA256=${hash}` })).toBe('event');
      expect(reasonOf('twilio', headers, { ...options, url: '/receive/1' })).toBe('signature_invalid');
      const other = { ...options, body: '{"a":2}', url: `/receive/1?bodySHA256=${hash}` };
      expect(reasonOf('twilio', headers, other)).toBe('signature_invalid');
      const otherHash = twilio.getExpectedBodyHash('{"a":2}');
      expect(reasonOf('twilio', headers, { ...other, url: `/receive/1?bodySHA256=${otherHash}` })).toBe(
        'signature_invalid',
      );
      expect(reasonOf('twilio', { ...headers, ...FORM }, other)).toBe('signature_invalid');
    },
  );
});

describe('hmac', () => {
  const sign = (text: string) => createHmac('sha256', SECRET).update(text).digest('hex');
  const settings = { signed: 'timestamp.body', timestamp_header: 'x-time' } as const;

  it.each([
    [String(AT_SECONDS), 'event'],
    [`${AT_SECONDS}000`, 'event'],
    [`${AT_SECONDS - 301}999`, 'timestamp_out_of_tolerance'],
    [`${AT_SECONDS}000000`, 'malformed'],
  ])('may have its time in seconds or milliseconds: %s', (time, expected) => {
    const headers = { 'x-time': time, 'x-webhook-signature': sign(`${time}.{}`) };
    expect(reasonOf('hmac', headers, { settings })).toBe(expected);
  });

  it('wants its prefix', () => {
    const prefixed = { settings: { prefix: 'sha256=' } };
    expect(reasonOf('hmac', { 'x-webhook-signature': `sha256=${sign('{}')}` }, prefixed)).toBe('event');
    expect(reasonOf('hmac', { 'x-webhook-signature': sign('{}') }, prefixed)).toBe('malformed');
    expect(reasonOf('hmac', { 'x-webhook-signature': `sha256=${sign('{}')}` })).toBe('signature_invalid');
  });
});

describe('Bearer and Basic', () => {
  const basic = (text: string) => Buffer.from(text).toString('base64');

  it.each([
    ['bearer', `bearer ${SECRET}`, 'event'],
    ['bearer', `Bearer  ${SECRET}`, 'event'],
    ['bearer', SECRET, 'malformed'],
    ['bearer', `Basic ${basic(`shop:${SECRET}`)}`, 'malformed'],
    ['bearer', 'Bearer', 'malformed'],
    ['basic', `basic ${basic(`shop:${SECRET}`)}`, 'event'],
    ['basic', `Basic ${basic(`other:${SECRET}`)}`, 'signature_invalid'],
    ['basic', `Basic ${basic(`:${SECRET}`)}`, 'signature_invalid'],
    ['basic', `Basic ${basic(SECRET)}`, 'signature_invalid'],
    ['basic', `Basic shop:${SECRET}`, 'signature_invalid'],
  ] as const)('%s with %s: %s', (provider, authorization, expected) => {
    const settings = provider === 'basic' ? { username: 'shop' } : {};
    expect(reasonOf(provider, { authorization }, { settings })).toBe(expected);
  });

  it('compare what came in bytes beyond ASCII', () => {
    const secret = 'viele pässwörter';
    const authorization = `Bearer ${Buffer.from(secret).toString('latin1')}`;
    expect(reasonOf('bearer', { authorization }, { secrets: [secret] })).toBe('event');
  });
});
