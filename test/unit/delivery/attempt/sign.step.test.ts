import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { SignStep } from '../../../../src/delivery/attempt/sign.step.js';
import { UndecryptableSecret } from '../../../../src/domain/encryption.js';
import type { LoadedDelivery } from '../../../../src/domain/delivery.js';
import type { Subscription } from '../../../../src/domain/subscription.js';
import { deliveryWith, NOW, SILENT, subscriptionWith } from './subject.js';

function signed(delivery: Partial<LoadedDelivery> = {}, subscription: Partial<Subscription> = {}) {
  const result = new SignStep(SILENT).run(
    {
      stage: 'authorised',
      delivery: deliveryWith(delivery),
      subscription: subscriptionWith(subscription),
    },
    new Date(NOW),
  );
  if (result.stage !== 'signed') throw new Error(result.stage);
  return result.request;
}

it('makes a request that the Standard Webhooks library accepts', () => {
  // The library compares with the clock of the machine.
  const secret = subscriptionWith().secrets(0)[0]!;
  const { headers, body } = signed();
  expect(headers['webhook-timestamp']).toBe(String(NOW / 1000));
  const signature = new Webhook(secret).sign('the event', new Date(NOW), body.toString());
  expect(headers['webhook-signature']).toBe(signature);
});

it.each<[what: string, delivery: Partial<LoadedDelivery>, own: Record<string, string>, headers: object]>([
  ['nothing special', {}, {}, { accept: '*/*', 'content-type': 'application/json', 'x-webhook-hops': '1' }],
  ['an Accept of its own', {}, { ACCEPT: 'text/x' }, { ACCEPT: 'text/x' }],
  ['a content type', { contentType: 'text/plain' }, {}, { 'content-type': 'text/plain' }],
  ['a request id', { requestId: 'r 1' }, {}, { 'x-request-id': 'r 1' }],
  ['hops', { hops: 2 }, {}, { 'x-webhook-hops': '3' }],
  ['a later attempt', { attemptNumber: 4 }, {}, { 'x-webhook-attempt': '4' }],
  [
    'a header that Posthorn sets',
    {},
    { 'user-agent': 'mine' },
    { 'user-agent': expect.stringMatching(/^Posthorn\//) },
  ],
])('sends %s', (_, delivery, own, headers) => {
  const sent = signed(delivery, { headers: own }).headers;
  expect(sent).toMatchObject(headers);
  expect(Object.keys(sent).filter((name) => name.toLowerCase() === 'accept')).toHaveLength(1);
  expect(sent).toMatchObject({ 'x-webhook-event': 'order.paid', 'x-webhook-delivery': 'the delivery' });
  expect('x-request-id' in sent).toBe(delivery.requestId !== undefined);
});

it('shares connections with no other subscription where headers may hold a credential', () => {
  expect(signed().credential).toBe('');
  expect(signed({}, { headers: { authorization: 'x' } }).credential).toBe('the subscription');
});

it('makes no request with a secret that cannot be decrypted', () => {
  const secrets = () => {
    throw new UndecryptableSecret('no key');
  };
  expect(() => signed({}, { secrets })).toThrow('unsigned');
});
