import type { Proof, Refusal, Signature, SharedToken } from './proof.js';
import type { ProviderName } from './provider-names.js';
import { headerOf, type RequestHead } from './received-request.js';
import { MAX_FORM_BYTES, signsBodyHash } from './signed-content.js';
import type { SourceSettings } from './source-settings.js';

/** What is known of a provider's webhooks. docs/providers.md says where from. */
export interface Provider {
  /** Any one of them will do. */
  proofs: readonly Proof[];
  eventType: {
    /** What comes before it, and a dot. */
    prefix: string | undefined;
    /** The first of these places that has something. */
    from: readonly Place[];
    /** When none has; `webhook` unless it is said. */
    otherwise?: string;
    /** The provider's spelling, made one of event types. */
    spell?: (type: string) => string;
  };
  /** Says which requests are the same delivery: the first of these places that has something. */
  deliveryId: readonly Place[];
  /** Where a body has to be taken apart before it is verified: how large it may be, in bytes. */
  maxBodyBytes?: (head: RequestHead) => number;
  /** What else can be wrong with a head. */
  refuseHead?: (head: RequestHead) => Refusal | null;
  /** The answer to a request that is no event, but a test of the address. */
  challenge?: { field: string; says: string; answer: string };
}

/** A header, or fields of the body: all of them, joined by colons. */
export type Place = { header: string } | { fields: readonly string[] };

type Describe = (settings: SourceSettings) => Provider;

/** The one that the schemes with a timestamp recommend. */
const FIVE_MINUTES = 300;

const header = (name: string): Place => ({ header: name });
const field = (...fields: string[]): Place => ({ fields });
const named = (prefix: string, ...from: Place[]) => ({ prefix, from });

const hmac = (
  content: string,
  { algorithm = 'sha256', encoding = 'hex', key = 'text' }: Partial<Signature> = {},
): Signature => ({ kind: 'hmac', content, algorithm, encoding, key });

const token = (tokenOf = (secret: string) => secret): SharedToken => ({ kind: 'token', tokenOf });

/** The Standard Webhooks specification, whose headers Svix called svix-* before. */
const standard = (name: 'webhook' | 'svix', toleranceSeconds = FIVE_MINUTES): Proof => ({
  header: `${name}-signature`,
  separator: ' ',
  prefix: 'v1,',
  shows: hmac(`{${name}-id}.{timestamp}.{body}`, { encoding: 'base64', key: 'whsec' }),
  time: { in: { header: `${name}-timestamp` }, toleranceSeconds },
  deliveryId: `${name}-id`,
});

const standardWebhooks: Describe = ({ tolerance_seconds, event_type_prefix }) => ({
  proofs: [standard('webhook', tolerance_seconds), standard('svix', tolerance_seconds)],
  eventType: { prefix: event_type_prefix, from: [field('type')] },
  // Each of the proofs has its own.
  deliveryId: [],
});

/** Where a source says that the type and the id are, for who has no place of their own. */
const places = (settings: SourceSettings): Pick<Provider, 'eventType' | 'deliveryId'> => ({
  eventType: {
    prefix: settings.event_type_prefix,
    from: [
      ...(settings.event_type_header === undefined ? [] : [header(settings.event_type_header)]),
      ...(settings.event_type_field === undefined ? [] : [field(settings.event_type_field)]),
    ],
  },
  deliveryId: [
    ...(settings.delivery_id_header === undefined ? [] : [header(settings.delivery_id_header)]),
    ...(settings.delivery_id_field === undefined ? [] : [field(settings.delivery_id_field)]),
  ],
});

export const PROVIDERS: Readonly<Record<ProviderName, Describe>> = {
  github: () => ({
    proofs: [{ header: 'x-hub-signature-256', prefix: 'sha256=', shows: hmac('{body}') }],
    eventType: named('github', header('x-github-event')),
    deliveryId: [header('x-github-delivery')],
  }),

  gitlab: () => ({
    // A secret token is sent as it is; a signing token signs.
    proofs: [{ header: 'x-gitlab-token', prefix: '', shows: token() }, standard('webhook')],
    eventType: {
      ...named('gitlab', header('x-gitlab-event')),
      // "Merge Request Hook"
      spell: (type) => type.toLowerCase(),
    },
    // Where GitLab signs, its webhook-id is that Idempotency-Key. X-Gitlab-Event-UUID is the same for all that one event
    // causes, so only where there is nothing better.
    deliveryId: [header('idempotency-key'), header('x-gitlab-event-uuid')],
  }),

  stripe: ({ tolerance_seconds = FIVE_MINUTES }) => ({
    proofs: [
      {
        header: 'stripe-signature',
        separator: ',',
        // v0 is that of test events, which anybody could make.
        prefix: 'v1=',
        shows: hmac('{timestamp}.{body}'),
        time: { in: { item: 't=' }, toleranceSeconds: tolerance_seconds },
      },
    ],
    eventType: named('stripe', field('type')),
    deliveryId: [field('id')],
  }),

  shopify: () => ({
    proofs: [{ header: 'x-shopify-hmac-sha256', prefix: '', shows: hmac('{body}', { encoding: 'base64' }) }],
    eventType: {
      ...named('shopify', header('x-shopify-topic')),
      // "orders/create"
      spell: (type) => type.replaceAll('/', '.'),
    },
    deliveryId: [header('x-shopify-webhook-id'), header('x-shopify-event-id')],
  }),

  slack: ({ tolerance_seconds = FIVE_MINUTES }) => ({
    proofs: [
      {
        header: 'x-slack-signature',
        prefix: 'v0=',
        shows: hmac('v0:{timestamp}:{body}'),
        time: { in: { header: 'x-slack-request-timestamp' }, toleranceSeconds: tolerance_seconds },
      },
    ],
    eventType: named('slack', field('event.type'), field('type')),
    deliveryId: [field('event_id')],
    challenge: { field: 'type', says: 'url_verification', answer: 'challenge' },
  }),

  twilio: (settings) => ({
    proofs: ['{url}{form}', '{url:port}{form}'].map((content) => ({
      header: 'x-twilio-signature',
      prefix: '',
      shows: hmac(content, { algorithm: 'sha1', encoding: 'base64' }),
    })),
    maxBodyBytes: (head) => (signsBodyHash(head) ? Infinity : MAX_FORM_BYTES),
    refuseHead: (head) =>
      signsBodyHash(head) || !/^multipart\//i.test(headerOf(head, 'content-type') ?? '')
        ? null
        : {
            reason: 'malformed',
            message: 'Twilio signs no multipart body: send application/x-www-form-urlencoded.',
          },
    eventType: {
      ...named(
        'twilio',
        ...places(settings).eventType.from,
        ...['MessageStatus', 'CallStatus', 'SmsStatus'].map((name) => field(name)),
      ),
      otherwise: 'message',
    },
    deliveryId: [
      ...places(settings).deliveryId,
      header('i-twilio-idempotency-token'),
      field('MessageSid', 'MessageStatus'),
      field('MessageSid', 'SmsStatus'),
    ],
  }),

  'standard-webhooks': standardWebhooks,
  svix: standardWebhooks,

  hmac: (settings) => ({
    proofs: [
      {
        header: settings.header ?? 'x-webhook-signature',
        prefix: settings.prefix ?? '',
        shows: hmac(settings.signed === 'timestamp.body' ? '{timestamp}.{body}' : '{body}', settings),
        ...(settings.timestamp_header !== undefined && {
          time: {
            in: { header: settings.timestamp_header },
            toleranceSeconds: settings.tolerance_seconds ?? FIVE_MINUTES,
          },
        }),
      },
    ],
    ...places(settings),
  }),

  bearer: (settings) => ({
    proofs: [
      settings.header === undefined || settings.header.toLowerCase() === 'authorization'
        ? { header: 'authorization', prefix: 'Bearer ', shows: token() }
        : { header: settings.header, prefix: '', shows: token() },
    ],
    ...places(settings),
  }),

  basic: (settings) => ({
    proofs: [
      {
        header: 'authorization',
        prefix: 'Basic ',
        shows: token((secret) => Buffer.from(`${settings.username ?? ''}:${secret}`).toString('base64')),
      },
    ],
    ...places(settings),
  }),

  posthorn: ({ signed = 'timestamp.body', tolerance_seconds = FIVE_MINUTES }) => ({
    proofs: [
      signed === 'body'
        ? { header: 'x-webhook-signature', prefix: 'sha256=', shows: hmac('{body}') }
        : {
            header: 'x-webhook-signature',
            prefix: 'sha256=',
            shows: hmac('{timestamp}.{body}'),
            time: { in: { header: 'x-webhook-timestamp' }, toleranceSeconds: tolerance_seconds },
          },
      // What any library of Standard Webhooks makes.
      standard('webhook', tolerance_seconds),
    ],
    eventType: { prefix: undefined, from: ['event_type', 'type', 'event'].map((name) => field(name)) },
    // No header: a copy of a signed request with another one would be another event.
    deliveryId: [field('idempotency_key')],
  }),
};
