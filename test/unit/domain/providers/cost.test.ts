import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { judge, judgeHead, maxBodyBytes, type SourceRules } from '../../../../src/domain/providers/judge.js';
import { MAX_PARAMETERS } from '../../../../src/domain/providers/form.js';
import { PROVIDER_NAMES, type ProviderName } from '../../../../src/domain/providers/provider-names.js';
import type { SourceSettings } from '../../../../src/domain/providers/source-settings.js';
import { readDocument } from '../../../support/markdown.js';

/**
 * What may be spent on a request before its signature is known to be right, as docs/providers.md says. A body that is
 * worse than those here is one line more.
 */

const NOW_SECONDS = 1_790_000_000;
const MIB = 1_048_576;
const KIB_256 = 262_144;

interface Case {
  provider: ProviderName;
  what: string;
  headers: Record<string, string>;
  body: string;
  settings?: SourceSettings;
  url?: string;
  secrets?: number;
  /** Times the CPU of one HMAC-SHA256 of the same bytes; null where the body is not read, whatever is in it. */
  atMost: number | null;
}

const HEX = '0'.repeat(64);
const BASE64 = `${'A'.repeat(43)}=`;
const SHA1 = `${'A'.repeat(27)}=`;
const now = String(NOW_SECONDS);
const standard = {
  'webhook-id': 'msg_1',
  'webhook-timestamp': now,
  'webhook-signature': Array(8).fill(`v1,${BASE64}`).join(' '),
};
const svix = { 'svix-id': 'msg_1', 'svix-timestamp': now, 'svix-signature': standard['webhook-signature'] };
const large = 'x'.repeat(MIB);
const form = (piece: string, count = MAX_PARAMETERS - 1): string =>
  Array.from({ length: count }, () => piece.repeat(Math.floor(KIB_256 / count / piece.length) - 1)).join('&');
const twilio = { provider: 'twilio', headers: { 'x-twilio-signature': SHA1 }, atMost: 40 } as const;

const CASES: readonly Case[] = [
  {
    provider: 'github',
    what: 'a body',
    headers: { 'x-hub-signature-256': `sha256=${HEX}` },
    body: large,
    atMost: 3,
  },
  { provider: 'github', what: 'no signature', headers: {}, body: large, atMost: null },
  {
    provider: 'gitlab',
    what: 'a wrong token',
    headers: { 'x-gitlab-token': HEX },
    body: large,
    atMost: null,
  },
  { provider: 'gitlab', what: 'eight signatures', headers: standard, body: large, atMost: 3 },
  {
    provider: 'stripe',
    what: 'eight signatures',
    headers: { 'stripe-signature': `t=${now}${`,v1=${HEX}`.repeat(8)}` },
    body: large,
    atMost: 3,
  },
  {
    provider: 'stripe',
    what: 'nine signatures',
    headers: { 'stripe-signature': `t=${now}${`,v1=${HEX}`.repeat(9)}` },
    body: large,
    atMost: null,
  },
  {
    provider: 'stripe',
    what: 'a header of 16 KiB',
    headers: { 'stripe-signature': `t=${now}${',v1='.repeat(4_000)}` },
    body: large,
    atMost: null,
  },
  {
    provider: 'shopify',
    what: 'a body',
    headers: { 'x-shopify-hmac-sha256': BASE64 },
    body: large,
    atMost: 3,
  },
  {
    provider: 'slack',
    what: 'a body',
    headers: { 'x-slack-signature': `v0=${HEX}`, 'x-slack-request-timestamp': now },
    body: large,
    atMost: 3,
  },
  {
    provider: 'slack',
    what: 'a time long ago',
    headers: { 'x-slack-signature': `v0=${HEX}`, 'x-slack-request-timestamp': '1' },
    body: large,
    atMost: null,
  },
  { ...twilio, what: '999 parameters of +', body: form('+') },
  { ...twilio, what: '999 parameters of %2B', body: form('%2B') },
  { ...twilio, what: '999 parameters of é', body: form('%C3%A9') },
  { ...twilio, what: '999 parameters of a broken escape', body: form('%') },
  { ...twilio, what: 'one parameter of +', body: form('+', 1) },
  { ...twilio, what: '256 KiB of &', body: '&'.repeat(KIB_256) },
  { ...twilio, what: 'JSON', body: large, url: `/?bodySHA256=${HEX}`, atMost: 6 },
  {
    provider: 'twilio',
    what: 'a multipart body',
    headers: { ...twilio.headers, 'content-type': 'multipart/form-data; boundary=a' },
    body: large,
    atMost: null,
  },
  { provider: 'standard-webhooks', what: 'eight signatures', headers: standard, body: large, atMost: 3 },
  {
    provider: 'standard-webhooks',
    what: 'both names',
    headers: { ...standard, ...svix },
    body: large,
    atMost: 6,
  },
  { provider: 'svix', what: 'both names', headers: { ...standard, ...svix }, body: large, atMost: 6 },
  { provider: 'hmac', what: 'a body', headers: { 'x-webhook-signature': HEX }, body: large, atMost: 3 },
  {
    provider: 'bearer',
    what: 'a wrong token',
    headers: { authorization: `Bearer ${HEX}` },
    body: large,
    atMost: null,
  },
  {
    provider: 'basic',
    what: 'a wrong password',
    settings: { username: 'shop' },
    headers: { authorization: `Basic ${HEX}` },
    body: large,
    atMost: null,
  },
  {
    provider: 'posthorn',
    what: 'both names',
    headers: { ...standard, 'x-webhook-signature': `sha256=${HEX}`, 'x-webhook-timestamp': now },
    body: large,
    atMost: 6,
  },
];

const secretsOf = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `whsec_${Buffer.alloc(32, index + 1).toString('base64')}`);

function given({ provider, headers, body, settings = {}, url = '/', secrets = 1 }: Case) {
  const rules: SourceRules = {
    provider,
    settings: provider === 'twilio' ? { url: 'https://example.com/twilio', ...settings } : settings,
    secrets: secretsOf(secrets),
    publicUrl: null,
  };
  return { request: { method: 'POST', url, headers, body: Buffer.from(body) }, rules };
}

/** Microseconds of CPU of one of these, the least of several rounds: others on the machine only add to it. */
function cpuOf(work: () => unknown): number {
  const rounds = Array.from({ length: 8 }, () => {
    const before = process.cpuUsage();
    for (let i = 0; i < 8; i++) work();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 8;
  });
  return Math.max(Math.min(...rounds), 1);
}

describe.each(CASES)('$provider with $what', (one) => {
  const { request, rules } = given(one);
  const nowMs = NOW_SECONDS * 1_000;

  it(one.atMost === null ? 'is refused by its head' : `costs at most ${one.atMost} times an HMAC`, () => {
    if (one.atMost === null) {
      expect(judgeHead(request, rules, nowMs)).not.toBeNull();
      return;
    }
    expect(judgeHead(request, rules, nowMs)).toBeNull();
    expect(request.body.length).toBeLessThanOrEqual(maxBodyBytes(request, rules));
    expect(judge(request, rules, nowMs).kind).toBe('refused');
    const hmac = cpuOf(() => createHmac('sha256', HEX).update(request.body).digest());
    expect(cpuOf(() => judge(request, rules, nowMs)) / hmac).toBeLessThan(one.atMost);
  });
});

it('costs an HMAC more for each secret of a rotation, and a form is read once for all', () => {
  const worst: Case = { ...twilio, what: '', body: form('+'), secrets: 9 };
  const { request, rules } = given(worst);
  const hmac = cpuOf(() => createHmac('sha256', HEX).update(request.body).digest());
  const cost = (secrets: readonly string[]) =>
    cpuOf(() => judge(request, { ...rules, secrets }, NOW_SECONDS * 1_000));
  // Nine are never valid at once: five are tried, each with and without a port.
  expect((cost(rules.secrets) - cost(rules.secrets.slice(0, 1))) / hmac).toBeLessThan(30);
});

describe('docs/providers.md', () => {
  const rows = readDocument('docs/providers.md', 'What an unsigned request costs')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()));

  it.each(PROVIDER_NAMES)('says what the worst request costs at %s', (provider) => {
    const ofProvider = CASES.filter((each) => each.provider === provider);
    const [, , bytes, parameters, cost] = rows.find(([, names]) => names?.includes(`\`${provider}\``)) ?? [];
    const worst = Math.max(...ofProvider.map(({ atMost }) => atMost ?? 0));
    expect(cost).toBe(worst === 0 ? 'none: the head decides' : `${worst}`);
    const isForm = provider === 'twilio';
    expect(bytes).toBe(isForm ? '256 KiB of a form' : worst === 0 ? 'none' : '`MAX_PAYLOAD_BYTES`');
    expect(parameters).toBe(isForm ? '1,000' : 'none');
  });
});
