import { sign as signForGitHub } from '@octokit/webhooks-methods';
import { createHmac } from 'node:crypto';
import { Webhook as StandardWebhook } from 'standardwebhooks';
import Stripe from 'stripe';
import { Webhook as SvixWebhook } from 'svix';
import twilio from 'twilio';
import type { SourceRules } from '../../../../src/domain/providers/judge.js';
import type { ProviderName } from '../../../../src/domain/providers/provider-names.js';
import type { ReceivedRequest } from '../../../../src/domain/providers/received-request.js';
import type { SourceSettings } from '../../../../src/domain/providers/source-settings.js';

/** How a provider sends, signed by its own library where npm has one that signs. */
export interface Sender {
  name: string;
  provider: ProviderName;
  settings?: SourceSettings;
  /** Three of them, in the form that the provider gives them. */
  secrets: readonly [string, string, string];
  body: string;
  signatureHeader: string;
  /** Whether the signature covers the body: what only sends a password does not. */
  signsBody: boolean;
  /** The header with the time, or `item` where it is in that of the signature; undefined where there is none. */
  time?: string;
  isHex?: boolean;
  headers(secret: string, body: string, atSeconds: number): Promise<Headers> | Headers;
  url?(body: string): string;
}
type Headers = Record<string, string>;

export const AT_SECONDS = 1_790_000_000;
export const PUBLIC_URL = 'https://posthorn.example.com';
const PATH = '/api/v1/webhooks/receive/019a0000-0000-7000-8000-000000000001';
const JSON_BODY = '{"type":"invoice.paid","id":"evt_1","data":{"id":12345678901234567890}}';
const FORM_BODY =
  'MessageSid=SM1&MessageStatus=delivered&Body=caf%C3%A9+%26+more&To=%2B1555&Empty=&Tag=b&Tag=a&Tag=b';

const WORDS = ['the first secret', 'the second secret', 'the third secret'] as const;
const TOKENS = ['token-number-one', 'token-number-two', 'token-number-three'] as const;
const whsec = (byte: number): string => `whsec_${Buffer.alloc(32, byte).toString('base64')}`;
const WHSECS = [whsec(0xfb), whsec(2), whsec(3)] as const;

const stripe = new Stripe('sk_test_none');
const hmac = (algorithm: string, secret: string, signed: string) =>
  createHmac(algorithm, secret).update(signed);
const at = (seconds: number) => new Date(seconds * 1_000);

export const SENDERS: readonly Sender[] = [
  {
    name: 'github',
    provider: 'github',
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-hub-signature-256',
    signsBody: true,
    isHex: true,
    headers: async (secret, body) => ({
      'x-github-event': 'issues',
      'x-github-delivery': '72d3162e-cc78-11e3-81ab-4c9367dc0958',
      'x-hub-signature-256': await signForGitHub(secret, body),
    }),
  },
  {
    name: 'gitlab with a secret token',
    provider: 'gitlab',
    secrets: TOKENS,
    body: JSON_BODY,
    signatureHeader: 'x-gitlab-token',
    signsBody: false,
    headers: (secret) => ({ 'x-gitlab-event': 'Merge Request Hook', 'x-gitlab-token': secret }),
  },
  {
    name: 'gitlab with a signing token',
    provider: 'gitlab',
    secrets: WHSECS,
    body: JSON_BODY,
    signatureHeader: 'webhook-signature',
    signsBody: true,
    time: 'webhook-timestamp',
    headers: (secret, body, seconds) => ({
      'x-gitlab-event': 'Push Hook',
      'idempotency-key': 'msg_1',
      ...standardHeaders(secret, body, seconds),
    }),
  },
  {
    name: 'stripe',
    provider: 'stripe',
    secrets: ['whsec_of_stripe_1', 'whsec_of_stripe_2', 'whsec_of_stripe_3'],
    body: JSON_BODY,
    signatureHeader: 'stripe-signature',
    signsBody: true,
    isHex: true,
    time: 'item',
    headers: (secret, payload, timestamp) => ({
      'stripe-signature': stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }),
    }),
  },
  {
    name: 'shopify',
    provider: 'shopify',
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-shopify-hmac-sha256',
    signsBody: true,
    headers: (secret, body) => ({
      'x-shopify-topic': 'orders/create',
      'x-shopify-webhook-id': 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043',
      'x-shopify-hmac-sha256': hmac('sha256', secret, body).digest('base64'),
    }),
  },
  {
    name: 'slack',
    provider: 'slack',
    secrets: WORDS,
    body: '{"type":"event_callback","event_id":"Ev1","event":{"type":"app_mention"}}',
    signatureHeader: 'x-slack-signature',
    signsBody: true,
    isHex: true,
    time: 'x-slack-request-timestamp',
    headers: (secret, body, seconds) => ({
      'x-slack-request-timestamp': String(seconds),
      'x-slack-signature': `v0=${hmac('sha256', secret, `v0:${seconds}:${body}`).digest('hex')}`,
    }),
  },
  {
    name: 'twilio with a form',
    provider: 'twilio',
    secrets: WORDS,
    body: FORM_BODY,
    signatureHeader: 'x-twilio-signature',
    signsBody: true,
    headers: (secret, body) => twilioHeaders(secret, PUBLIC_URL + PATH, parameters(body)),
  },
  {
    name: 'twilio with JSON',
    provider: 'twilio',
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-twilio-signature',
    signsBody: true,
    headers: (secret, body) => ({
      ...twilioHeaders(secret, PUBLIC_URL + hashedPath(body), {}),
      'content-type': 'application/json',
    }),
    url: hashedPath,
  },
  {
    name: 'twilio at an address of its own',
    provider: 'twilio',
    settings: { url: 'https://hooks.example.com/twilio?from=twilio' },
    secrets: WORDS,
    body: FORM_BODY,
    signatureHeader: 'x-twilio-signature',
    signsBody: true,
    headers: (secret, body) =>
      twilioHeaders(secret, 'https://hooks.example.com/twilio?from=twilio', parameters(body)),
  },
  {
    name: 'standard-webhooks',
    provider: 'standard-webhooks',
    secrets: WHSECS,
    body: JSON_BODY,
    signatureHeader: 'webhook-signature',
    signsBody: true,
    time: 'webhook-timestamp',
    headers: standardHeaders,
  },
  {
    name: 'svix',
    provider: 'svix',
    secrets: WHSECS,
    body: JSON_BODY,
    signatureHeader: 'svix-signature',
    signsBody: true,
    time: 'svix-timestamp',
    headers: (secret, body, seconds) => ({
      'svix-id': 'msg_1',
      'svix-timestamp': String(seconds),
      'svix-signature': new SvixWebhook(secret).sign('msg_1', at(seconds), body),
    }),
  },
  {
    name: 'svix under the name of its customer',
    provider: 'svix',
    secrets: WHSECS,
    body: JSON_BODY,
    signatureHeader: 'webhook-signature',
    signsBody: true,
    time: 'webhook-timestamp',
    headers: standardHeaders,
  },
  {
    name: 'hmac',
    provider: 'hmac',
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-webhook-signature',
    signsBody: true,
    isHex: true,
    headers: (secret, body) => ({ 'x-webhook-signature': hmac('sha256', secret, body).digest('hex') }),
  },
  {
    name: 'hmac of another kind',
    provider: 'hmac',
    settings: { algorithm: 'sha512', encoding: 'base64', header: 'X-Sig', prefix: 'sha512=' },
    secrets: WORDS,
    body: FORM_BODY,
    signatureHeader: 'x-sig',
    signsBody: true,
    headers: (secret, body) => ({ 'x-sig': `sha512=${hmac('sha512', secret, body).digest('base64')}` }),
  },
  {
    name: 'hmac with the time',
    provider: 'hmac',
    settings: { signed: 'timestamp.body', timestamp_header: 'X-Time', tolerance_seconds: 300 },
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-webhook-signature',
    signsBody: true,
    isHex: true,
    time: 'x-time',
    headers: (secret, body, seconds) => ({
      'x-time': String(seconds),
      'x-webhook-signature': hmac('sha256', secret, `${seconds}.${body}`).digest('hex'),
    }),
  },
  {
    name: 'bearer',
    provider: 'bearer',
    secrets: TOKENS,
    body: JSON_BODY,
    signatureHeader: 'authorization',
    signsBody: false,
    headers: (secret) => ({ authorization: `Bearer ${secret}` }),
  },
  {
    name: 'bearer in another header',
    provider: 'bearer',
    settings: { header: 'X-API-Key' },
    secrets: TOKENS,
    body: JSON_BODY,
    signatureHeader: 'x-api-key',
    signsBody: false,
    headers: (secret) => ({ 'x-api-key': secret }),
  },
  {
    name: 'basic',
    provider: 'basic',
    settings: { username: 'shop' },
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'authorization',
    signsBody: false,
    headers: (secret) => ({
      authorization: `Basic ${Buffer.from(`shop:${secret}`).toString('base64')}`,
    }),
  },
  {
    name: 'posthorn',
    provider: 'posthorn',
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-webhook-signature',
    signsBody: true,
    isHex: true,
    time: 'x-webhook-timestamp',
    headers: (secret, body, seconds) => ({
      'x-webhook-timestamp': String(seconds),
      'x-webhook-signature': `sha256=${hmac('sha256', secret, `${seconds}.${body}`).digest('hex')}`,
    }),
  },
  {
    name: 'posthorn with a library of Standard Webhooks',
    provider: 'posthorn',
    secrets: WHSECS,
    body: JSON_BODY,
    signatureHeader: 'webhook-signature',
    signsBody: true,
    time: 'webhook-timestamp',
    headers: standardHeaders,
  },
  {
    name: 'posthorn with the body alone',
    provider: 'posthorn',
    settings: { signed: 'body' },
    secrets: WORDS,
    body: JSON_BODY,
    signatureHeader: 'x-webhook-signature',
    signsBody: true,
    isHex: true,
    headers: (secret, body) => ({
      'x-webhook-signature': `sha256=${hmac('sha256', secret, body).digest('hex')}`,
    }),
  },
];

export async function sent(
  sender: Sender,
  { secret = sender.secrets[0], body = sender.body, atSeconds = AT_SECONDS } = {},
): Promise<ReceivedRequest> {
  return {
    method: 'POST',
    url: sender.url?.(body) ?? PATH,
    headers: { 'content-type': 'application/json', ...(await sender.headers(secret, body, atSeconds)) },
    body: Buffer.from(body),
  };
}

export const rulesOf = ({ provider, settings = {}, secrets }: Sender): SourceRules => ({
  provider,
  settings,
  secrets: [secrets[0], secrets[1]],
  publicUrl: PUBLIC_URL,
});

function standardHeaders(secret: string, body: string, seconds: number): Headers {
  return {
    'webhook-id': 'msg_1',
    'webhook-timestamp': String(seconds),
    'webhook-signature': new StandardWebhook(secret).sign('msg_1', at(seconds), body),
  };
}

function twilioHeaders(secret: string, url: string, form: Record<string, unknown>): Headers {
  return {
    'content-type': 'application/x-www-form-urlencoded; charset=UTF-8',
    'x-twilio-signature': twilio.getExpectedTwilioSignature(secret, url, form),
  };
}

/** As a form is given to Twilio's library: the values of a name that is there more than once as a list. */
function parameters(body: string): Record<string, string | string[]> {
  const form = new URLSearchParams(body);
  return Object.fromEntries(
    [...new Set(form.keys())].map((name) => {
      const values = form.getAll(name);
      return [name, values.length === 1 ? values[0]! : values];
    }),
  );
}

function hashedPath(body: string): string {
  return `${PATH}?a=1&bodySHA256=${twilio.getExpectedBodyHash(body)}`;
}
