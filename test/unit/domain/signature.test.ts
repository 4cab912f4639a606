import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { signatureHeaders } from '../../../src/domain/signature.js';
import { generateSecret, secretFormat, secretProblem } from '../../../src/domain/signing-secret.js';

const nowSeconds = () => Math.floor(Date.now() / 1000);
const sign = (secrets: string[], body: Buffer) =>
  signatureHeaders({ secrets, webhookId: 'msg_1', timestampSeconds: nowSeconds(), body });
const plainSecrets = fc
  .string({ minLength: 16, maxLength: 256 })
  .filter((secret) => secretProblem(secret) === null && secretFormat(secret) === 'raw');

describe('signatureHeaders', () => {
  it('gives the signature that the specification prints for its example', () => {
    const headers = signatureHeaders({
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
      webhookId: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestampSeconds: 1614265330,
      body: Buffer.from('{"test": 2432232314}'),
    });
    expect(headers).toEqual({
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
      'x-webhook-signature': expect.stringMatching(/^sha256=[0-9a-f]{64}$/),
    });
  });

  it('is accepted by the official library, for any JSON and any secret that can be given', () => {
    const keys = fc.oneof(
      fc.uint8Array({ minLength: 24, maxLength: 64 }).map((bytes) => {
        const secret = `whsec_${Buffer.from(bytes).toString('base64')}`;
        return { secret, webhook: new Webhook(secret) };
      }),
      plainSecrets.map((secret) => ({ secret, webhook: new Webhook(secret, { format: 'raw' }) })),
      // As docs/verifying.md tells the libraries that have no raw mode.
      plainSecrets.map((secret) => ({ secret, webhook: new Webhook(`whsec_${btoa(secret)}`) })),
    );
    fc.assert(
      fc.property(keys, fc.json(), ({ secret, webhook }, json) => {
        expect(secretProblem(secret)).toBeNull();
        const body = Buffer.from(json);
        expect(webhook.verify(body, sign([secret], body))).toEqual(JSON.parse(body.toString()));
      }),
    );
  });

  it('is refused by the official library once one byte of the body is another', () => {
    const secret = generateSecret();
    const headers = sign([secret], Buffer.from('{"amount":1}'));
    expect(() => new Webhook(secret).verify('{"amount":2}', headers)).toThrow('No matching signature');
  });

  it('verifies with the old and the new secret while a secret is rotated, and with no other', () => {
    const [oldSecret, newSecret, otherSecret] = [generateSecret(), generateSecret(), generateSecret()];
    const body = Buffer.from('{}');
    const headers = sign([newSecret, oldSecret], body);
    expect(headers['webhook-signature'].split(' ')).toHaveLength(2);
    expect(new Webhook(newSecret).verify(body, headers)).toEqual({});
    expect(new Webhook(oldSecret).verify(body, headers)).toEqual({});
    expect(() => new Webhook(otherSecret).verify(body, headers)).toThrow('No matching signature');
  });

  it('signs the bytes as they are, whether or not they are UTF-8', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2048 }), plainSecrets, (bytes, secret) => {
        const body = Buffer.from(bytes);
        const headers = sign([secret], body);
        const signed = Buffer.concat([Buffer.from(`msg_1.${headers['webhook-timestamp']}.`), body]);
        const expected = createHmac('sha256', secret).update(signed).digest('base64');
        expect(headers['webhook-signature']).toBe(`v1,${expected}`);
      }),
    );
  });

  it('keys x-webhook-signature with the newest secret as the user sees it', () => {
    const [newSecret, oldSecret] = [generateSecret(), generateSecret()];
    const body = Buffer.from([0xff, 0x00, 0x7b]);
    const expected = createHmac('sha256', Buffer.from(newSecret, 'utf8')).update(body).digest('hex');
    expect(sign([newSecret, oldSecret], body)['x-webhook-signature']).toBe(`sha256=${expected}`);
  });

  it('does not sign with nothing', () => {
    expect(() => sign([], Buffer.from('{}'))).toThrow('at least one secret');
  });
});
