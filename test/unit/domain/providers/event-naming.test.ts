import { describe, expect, it } from 'vitest';
import { judge, type Verdict } from '../../../../src/domain/providers/judge.js';
import type { ReceivedRequest } from '../../../../src/domain/providers/received-request.js';
import type { SourceSettings } from '../../../../src/domain/providers/source-settings.js';
import { AT_SECONDS, rulesOf, SENDERS, sent } from './senders.js';

interface Sent {
  headers?: Record<string, string>;
  body?: string;
  settings?: SourceSettings;
}

/** What becomes of a request that is signed. */
async function taken(name: string, { headers = {}, body, settings }: Sent): Promise<Verdict> {
  const sender = SENDERS.find((one) => one.name === name)!;
  const request = await sent(sender, body === undefined ? {} : { body });
  const all: ReceivedRequest = { ...request, headers: { ...request.headers, ...headers } };
  const rules = rulesOf(sender);
  return judge(all, { ...rules, settings: { ...rules.settings, ...settings } }, AT_SECONDS * 1_000);
}

const FORM = 'application/x-www-form-urlencoded';

describe('the event type and the delivery id', () => {
  it.each<[string, Sent, string, string | null]>([
    ['github', {}, 'github.issues', '72d3162e-cc78-11e3-81ab-4c9367dc0958'],
    ['github', { body: 'payload=%7B%7D' }, 'github.issues', '72d3162e-cc78-11e3-81ab-4c9367dc0958'],
    ['github', { headers: { 'x-github-event': '', 'x-github-delivery': '' } }, 'github.webhook', null],
    ['gitlab with a secret token', {}, 'gitlab.merge_request_hook', null],
    [
      'gitlab with a secret token',
      { headers: { 'x-gitlab-event-uuid': 'u' } },
      'gitlab.merge_request_hook',
      'u',
    ],
    ['gitlab with a signing token', { headers: { 'x-gitlab-event-uuid': 'u' } }, 'gitlab.push_hook', 'msg_1'],
    [
      'gitlab with a secret token',
      { headers: { 'idempotency-key': 'i', 'x-gitlab-event-uuid': 'u' } },
      'gitlab.merge_request_hook',
      'i',
    ],
    ['stripe', {}, 'stripe.invoice.paid', 'evt_1'],
    ['stripe', { body: 'no JSON' }, 'stripe.webhook', null],
    ['shopify', {}, 'shopify.orders.create', 'b54557e4-bdd9-4b37-8a5f-bf7d70bcd043'],
    [
      'shopify',
      { headers: { 'x-shopify-webhook-id': '', 'x-shopify-event-id': 'e' } },
      'shopify.orders.create',
      'e',
    ],
    ['slack', {}, 'slack.app_mention', 'Ev1'],
    ['slack', { body: '{"type":"app_rate_limited"}' }, 'slack.app_rate_limited', null],
    ['slack', { body: '{"type":"url_verification"}' }, 'slack.url_verification', null],
    ['slack', { body: 'command=%2Fweather', headers: { 'content-type': FORM } }, 'slack.webhook', null],
    ['twilio with a form', {}, 'twilio.delivered', 'SM1:delivered'],
    ['twilio with a form', { headers: { 'i-twilio-idempotency-token': 't' } }, 'twilio.delivered', 't'],
    ['twilio with a form', { body: 'CallSid=CA1&CallStatus=ringing' }, 'twilio.ringing', null],
    ['twilio with a form', { body: 'MessageSid=SM1&SmsStatus=received' }, 'twilio.received', 'SM1:received'],
    ['twilio with a form', { body: 'a=b' }, 'twilio.message', null],
    [
      'twilio with a form',
      {
        body: 'EventType=onMessageAdded&Sid=IM1',
        settings: { event_type_field: 'EventType', delivery_id_field: 'Sid' },
      },
      'twilio.onMessageAdded',
      'IM1',
    ],
    ['twilio with JSON', { body: '{"MessageStatus":"sent"}' }, 'twilio.sent', null],
    ['standard-webhooks', {}, 'invoice.paid', 'msg_1'],
    ['standard-webhooks', { body: '<xml/>' }, 'webhook', 'msg_1'],
    ['svix', { settings: { event_type_prefix: 'acme' } }, 'acme.invoice.paid', 'msg_1'],
    ['svix under the name of its customer', {}, 'invoice.paid', 'msg_1'],
    ['hmac', {}, 'webhook', null],
    ['hmac', { settings: { event_type_prefix: 'acme.crm' } }, 'acme.crm.webhook', null],
    [
      'hmac',
      { settings: { event_type_field: 'type', delivery_id_field: 'data.id' } },
      'invoice.paid',
      '12345678901234567890',
    ],
    [
      'hmac',
      {
        headers: { 'x-type': 'a/b', 'x-id': '7' },
        settings: {
          event_type_header: 'X-Type',
          event_type_field: 'type',
          delivery_id_header: 'X-Id',
          delivery_id_field: 'id',
        },
      },
      'a/b',
      '7',
    ],
    ['hmac', { settings: { event_type_header: 'X-Type', event_type_field: 'type' } }, 'invoice.paid', null],
    [
      'hmac of another kind',
      { headers: { 'content-type': FORM }, settings: { event_type_field: 'MessageStatus' } },
      'delivered',
      null,
    ],
    ['bearer', { settings: { event_type_field: 'type', delivery_id_field: 'id' } }, 'invoice.paid', 'evt_1'],
    ['basic', { settings: { username: 'shop', event_type_field: 'type' } }, 'invoice.paid', null],
    ['posthorn', { body: '{"event_type":"a.b","type":"c","event":"d"}' }, 'a.b', null],
    ['posthorn', { body: '{"type":"c","event":"d","idempotency_key":"k"}' }, 'c', 'k'],
    ['posthorn', { body: '{"event":"d"}', headers: { 'idempotency-key': 'h' } }, 'd', null],
    // The header is not signed.
    [
      'posthorn',
      { body: '{"event":"d","idempotency_key":"k"}', headers: { 'idempotency-key': 'h' } },
      'd',
      'k',
    ],
    ['posthorn', { body: '[1]' }, 'webhook', null],
  ])('of %s, sent with %o, are %s and %s', async (name, request, eventType, deliveryId) => {
    expect(await taken(name, request)).toMatchObject({ kind: 'event', eventType, deliveryId });
  });

  it.each<[string, Sent, string]>([
    ['svix', { headers: { 'webhook-id': 'another', 'idempotency-key': 'another' } }, 'msg_1'],
    ['standard-webhooks', { headers: { 'svix-id': 'another', 'svix-signature': 'v1,AAAA' } }, 'msg_1'],
    ['gitlab with a signing token', { headers: { 'idempotency-key': 'another' } }, 'msg_1'],
    ['stripe', { headers: { 'content-type': FORM } }, 'evt_1'],
    ['slack', { headers: { 'content-type': FORM } }, 'Ev1'],
    ['posthorn', { body: '{"idempotency_key":"k"}', headers: { 'content-type': FORM } }, 'k'],
    ['twilio with a form', { headers: { 'content-type': 'text/plain' } }, 'SM1:delivered'],
  ])('of a copy from %s with other unsigned headers, %o, is the same id %s', async (name, request, id) => {
    const original = await taken(name, { ...request, headers: {} });
    expect(await taken(name, request)).toMatchObject({
      eventType: original.kind === 'event' && original.eventType,
      deliveryId: id,
    });
  });

  it.each([
    ['Merge Request', 'Merge_Request'],
    ['__a', 'a'],
    ['...', 'webhook'],
    ['é😀x', 'x'],
    ['a😀b', 'a_b'],
    ['a\u0000\n*b', 'a___b'],
    [7, '7'],
    [true, 'webhook'],
    [null, 'webhook'],
    ['', 'webhook'],
    [{ a: 1 }, 'webhook'],
    ['x'.repeat(1_000), 'x'.repeat(256)],
  ])('make of %o the type %s', async (type, eventType) => {
    const body = JSON.stringify({ type });
    expect(await taken('hmac', { body, settings: { event_type_field: 'type' } })).toMatchObject({
      eventType,
    });
  });

  it.each(['x'.repeat(257), 'a\u0000b', '\ud800', 'a\nb'])(
    'make an id of %o that is storable and its own',
    async (id) => {
      const idOf = async (given: string) => {
        const verdict = await taken('hmac', {
          body: JSON.stringify({ id: given }),
          settings: { delivery_id_field: 'id' },
        });
        return verdict.kind === 'event' && verdict.deliveryId;
      };
      expect(await idOf(id)).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(await idOf(id)).toBe(await idOf(id));
      expect(await idOf(id)).not.toBe(await idOf(`${id}!`));
    },
  );
});

describe('the content type', () => {
  it.each([
    ['application/json', 'application/json'],
    ['application/json;charset="UTF-8"', 'application/json;charset="UTF-8"'],
    ['', 'application/octet-stream'],
    ['text/plain\u00e9', 'application/octet-stream'],
    ['x'.repeat(257), 'application/octet-stream'],
  ])('%s is kept as %s', async (given, contentType) => {
    expect(await taken('hmac', { headers: { 'content-type': given } })).toMatchObject({ contentType });
  });
});

describe('the challenge of Slack', () => {
  const body =
    '{"token":"t","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}';

  it('is answered with its text', async () => {
    expect(await taken('slack', { body })).toEqual({
      kind: 'challenge',
      contentType: 'text/plain',
      body: '3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P',
    });
  });

  it('is answered only when it is signed, and only to Slack', async () => {
    expect(await taken('slack', { body, headers: { 'x-slack-signature': 'v0=00' } })).toMatchObject({
      kind: 'refused',
    });
    expect(await taken('hmac', { body })).toMatchObject({ kind: 'event' });
  });
});
