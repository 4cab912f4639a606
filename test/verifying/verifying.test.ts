import { createHmac } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { answersIn, LANGUAGES, missingPrograms, type Question } from './languages.js';

/** A delivery that arrived, and the secret as its owner knows it. */
interface Delivery {
  secret: string;
  headers: Record<string, string>;
  body: Buffer;
}

const PAYLOAD = '{"amount": 12.50, "name": "Žofie"}';
const OTHER = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
const HEX = '6d1f0a9c4be27f53a8d0c1e5b7963482f4ad0be19c5d7e208b3f6a41d2c7e95a';

/** Each form of a secret that is accepted. */
const FORMS: Record<string, string | undefined> = {
  'made by Posthorn': undefined,
  'whsec_ with padding': `whsec_${Buffer.alloc(25, 0xfb).toString('base64')}`,
  'a phrase': 'correct horse battery staple',
  hexadecimal: HEX,
  'base64 without prefix': Buffer.from(HEX, 'hex').toString('base64'),
};

const secondsAgo = (seconds: number) => String(Math.floor(Date.now() / 1000) - seconds);

/** The same delivery, made at another time. */
function at(timestamp: string, { secret, headers, body }: Delivery): Delivery {
  const key = secret.startsWith('whsec_') ? Buffer.from(secret.slice(6), 'base64') : Buffer.from(secret);
  const signed = Buffer.concat([Buffer.from(`${headers['webhook-id']!}.${timestamp}.`), body]);
  const signature = `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
  return {
    secret,
    body,
    headers: { ...headers, 'webhook-timestamp': timestamp, 'webhook-signature': signature },
  };
}
const withHeaders = (delivery: Delivery, headers: Record<string, string>): Delivery => ({
  ...delivery,
  headers: { ...delivery.headers, ...headers },
});
const without = (delivery: Delivery, name: string): Delivery => {
  const { [name]: _, ...headers } = delivery.headers;
  return { ...delivery, headers };
};

/** What is asked of the delivery of each form; the first of them is how it arrived. */
const CASES: [
  what: string,
  header: Question['header'],
  believed: boolean,
  made: (one: Delivery) => Delivery,
][] = [
  ['as it arrived', 'standard', true, (one) => one],
  ['four minutes old', 'standard', true, (one) => at(secondsAgo(240), one)],
  ['six minutes old', 'standard', false, (one) => at(secondsAgo(360), one)],
  ['six minutes early', 'standard', false, (one) => at(secondsAgo(-360), one)],
  ['another body', 'standard', false, (one) => ({ ...one, body: Buffer.from('{"amount": 13}') })],
  ['another secret', 'standard', false, (one) => ({ ...one, secret: OTHER })],
  ['another id', 'standard', false, (one) => withHeaders(one, { 'webhook-id': 'another' })],
  ['another time', 'standard', false, (one) => withHeaders(one, { 'webhook-timestamp': secondsAgo(60) })],
  ['no time', 'standard', false, (one) => without(one, 'webhook-timestamp')],
  ['a time that is no number', 'standard', false, (one) => at('now', one)],
  ['no id', 'standard', false, (one) => without(one, 'webhook-id')],
  ['no signature', 'standard', false, (one) => without(one, 'webhook-signature')],
  ['an empty signature', 'standard', false, (one) => withHeaders(one, { 'webhook-signature': '' })],
  ['a signature cut short', 'standard', false, (one) => withHeaders(one, { 'webhook-signature': 'v1,AAAA' })],
  [
    'its signature among others',
    'standard',
    true,
    (one) =>
      withHeaders(one, { 'webhook-signature': `v1a,AAAA v1,AAAA ${one.headers['webhook-signature']!}` }),
  ],
  [
    'its signature under another version',
    'standard',
    false,
    (one) =>
      withHeaders(one, { 'webhook-signature': one.headers['webhook-signature']!.replace('v1,', 'v2,') }),
  ],
  ['as it arrived', 'simple', true, (one) => one],
  ['another body', 'simple', false, (one) => ({ ...one, body: Buffer.from('{"amount": 13}') })],
  ['another secret', 'simple', false, (one) => ({ ...one, secret: OTHER })],
  ['no signature', 'simple', false, (one) => without(one, 'x-webhook-signature')],
];

/** The deliveries of one subscription that was rotated: signed with both secrets, the newer one first. */
const ROTATED: [what: string, header: Question['header'], which: 'older' | 'newer', believed: boolean][] = [
  ['the older secret', 'standard', 'older', true],
  ['the newer secret', 'standard', 'newer', true],
  ['the older secret', 'simple', 'older', false],
  ['the newer secret', 'simple', 'newer', true],
];

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
const asked: { name: string; question: Question; believed: boolean }[] = [];

beforeAll(async () => {
  [posthorn, simulator] = await Promise.all([startPosthorn(), startSimulator()]);
  tenant = await posthorn.tenant();
  for (const [form, secret] of Object.entries(FORMS)) {
    const one = await deliveryFor((await subscribe(secret)).secret);
    for (const [what, header, believed, made] of CASES) {
      asked.push({ name: `${form}, ${header}: ${what}`, question: { header, ...made(one) }, believed });
    }
  }
  const { id, secret: older } = await subscribe(FORMS['a phrase']);
  const { body } = await tenant.request('POST', `/subscriptions/${id}/rotate-secret`);
  const secrets = { older, newer: body.secret as string };
  const one = await deliveryFor(older);
  for (const [what, header, which, believed] of ROTATED) {
    const question = { ...one, header, secret: secrets[which] };
    asked.push({ name: `rotated, ${header}: ${what}`, question, believed });
  }
});
afterAll(async () => {
  await posthorn.stop();
  await simulator.close();
});

let count = 0;
async function subscribe(secret: string | undefined): Promise<{ id: string; secret: string }> {
  count++;
  const { body } = await tenant.request('POST', '/subscriptions', {
    target_url: `${simulator.url}/ok/${count}`,
    event_types: [`verify.${count}`],
    ...(secret !== undefined && { secret }),
  });
  return body as { id: string; secret: string };
}

/** Of an event for the subscription that was made last. */
async function deliveryFor(secret: string): Promise<Delivery> {
  const path = `/ok/${count}`;
  await tenant.request('POST', '/events', `{"event_type":"verify.${count}","payload":${PAYLOAD}}`);
  await simulator.waitFor(() => simulator.countOn(path) === 1);
  const { headers, body } = simulator.receivedOn(path)[0]!;
  const names = ['webhook-id', 'webhook-timestamp', 'webhook-signature', 'x-webhook-signature'];
  return { secret, body, headers: Object.fromEntries(names.map((name) => [name, String(headers[name])])) };
}

describe.each(LANGUAGES)('the function for $name in docs/verifying.md', (language) => {
  it('believes what Posthorn sent, and nothing else', { timeout: 300_000 }, async ({ skip }) => {
    const missing = await missingPrograms(language);
    if (missing.length > 0) skip(`${missing.join(' and ')} is not on the PATH`);
    if (language.slow && process.env['SNIPPETS'] !== 'all') skip('compiles for long: npm run test:snippets');
    const answers = await answersIn(
      language,
      asked.map(({ question }) => question),
    );
    const seen = asked.map(({ name }, index) => [name, answers[index]]);
    expect(seen).toEqual(asked.map(({ name, believed }) => [name, believed]));
  });
});
