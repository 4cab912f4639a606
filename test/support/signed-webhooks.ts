import { sign as signForGitHub } from '@octokit/webhooks-methods';
import { createHmac } from 'node:crypto';
import Stripe from 'stripe';
import { Webhook } from 'svix';
import twilio from 'twilio';

/** What a provider sends. */
export interface SignedWebhook {
  headers: Record<string, string>;
  body: Buffer;
}

/** A provider, and how it sends one delivery: signed by its own library where it has one. */
export interface Sender {
  provider: string;
  secret: string;
  settings?: Record<string, unknown>;
  eventType: string;
  contentType: string;
  /** @param note something in the body that a second try of the same delivery may say otherwise */
  send(deliveryId: string, note?: string): Promise<SignedWebhook>;
}

const JSON_TYPE = 'application/json';
const FORM_TYPE = 'application/x-www-form-urlencoded';
const SVIX_SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const TWILIO_URL = 'https://hooks.example.com/twilio?from=twilio';

export const SENDERS: Sender[] = [
  {
    provider: 'github',
    secret: 'a secret of GitHub',
    eventType: 'github.issues',
    contentType: JSON_TYPE,
    async send(deliveryId, note = '') {
      const body = JSON.stringify({ action: 'opened', issue: { number: 1 }, note });
      return made(JSON_TYPE, body, {
        'x-github-event': 'issues',
        'x-github-delivery': deliveryId,
        'x-hub-signature-256': await signForGitHub(this.secret, body),
      });
    },
  },
  {
    provider: 'stripe',
    secret: 'whsec_a_secret_of_stripe',
    eventType: 'stripe.invoice.paid',
    contentType: `${JSON_TYPE}; charset=utf-8`,
    async send(deliveryId, note = '') {
      const body = `{\n  "id": "${deliveryId}",\n  "object": "event",\n  "type": "invoice.paid",\n  "note": "${note}"\n}`;
      const stripe = new Stripe('sk_test_none');
      const signature = await stripe.webhooks.generateTestHeaderStringAsync({
        payload: body,
        secret: this.secret,
      });
      return made(this.contentType, body, { 'stripe-signature': signature });
    },
  },
  {
    // Slack's own library verifies, and does not sign: this is what its page "Verifying requests" says.
    provider: 'slack',
    secret: 'a secret of Slack',
    eventType: 'slack.app_mention',
    contentType: JSON_TYPE,
    send(deliveryId, note = '') {
      const event = { type: 'app_mention', text: note };
      return Promise.resolve(
        signedForSlack(this.secret, { type: 'event_callback', event_id: deliveryId, event }),
      );
    },
  },
  {
    provider: 'twilio',
    secret: 'a token of Twilio',
    settings: { url: TWILIO_URL },
    eventType: 'twilio.delivered',
    contentType: FORM_TYPE,
    send(deliveryId, note = '') {
      const parameters = { MessageSid: deliveryId, MessageStatus: 'delivered', Body: `${note} & more+` };
      return Promise.resolve(
        made(FORM_TYPE, new URLSearchParams(parameters).toString(), {
          'x-twilio-signature': twilio.getExpectedTwilioSignature(this.secret, TWILIO_URL, parameters),
          'i-twilio-idempotency-token': deliveryId,
        }),
      );
    },
  },
  {
    provider: 'svix',
    secret: SVIX_SECRET,
    eventType: 'user.created',
    contentType: JSON_TYPE,
    send(deliveryId, note = '') {
      const at = new Date();
      const body = JSON.stringify({ type: 'user.created', note });
      return Promise.resolve(
        made(JSON_TYPE, body, {
          'svix-id': deliveryId,
          'svix-timestamp': String(Math.floor(at.getTime() / 1_000)),
          'svix-signature': new Webhook(this.secret).sign(deliveryId, at, body),
        }),
      );
    },
  },
];

export function signedForSlack(secret: string, content: unknown): SignedWebhook {
  const body = JSON.stringify(content);
  const timestamp = String(Math.floor(Date.now() / 1_000));
  return made(JSON_TYPE, body, {
    'x-slack-request-timestamp': timestamp,
    'x-slack-signature': `v0=${hmac(secret, `v0:${timestamp}:${body}`)}`,
  });
}

/** As a source of the provider `hmac` wants it unless told otherwise. */
export function signedPlainly(secret: string, body: Buffer, contentType?: string): SignedWebhook {
  return {
    headers: {
      ...(contentType !== undefined && { 'content-type': contentType }),
      'x-webhook-signature': hmac(secret, body),
    },
    body,
  };
}

/** As POST /webhooks/ingest wants it. */
export function signedForIngest(tenantId: string, secret: string, text: string): SignedWebhook {
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const headers = {
    'x-tenant-id': tenantId,
    'x-webhook-timestamp': timestamp,
    'x-webhook-signature': `sha256=${hmac(secret, `${timestamp}.${text}`)}`,
  };
  return made(JSON_TYPE, text, headers);
}

const made = (contentType: string, text: string, headers: Record<string, string>): SignedWebhook => ({
  headers: { 'content-type': contentType, ...headers },
  body: Buffer.from(text),
});

const hmac = (secret: string, signed: string | Buffer): string =>
  createHmac('sha256', secret).update(signed).digest('hex');
