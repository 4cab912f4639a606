import { isUtf8 } from 'node:buffer';
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { Webhook } from 'standardwebhooks';

/**
 * Verifies a delivery as a subscriber would: `webhook-signature` with the official Standard Webhooks library,
 * `x-webhook-signature` as HMAC-SHA256 of the body keyed with the secret's characters. Whatever is there must
 * be right, and one of them must be there. That library reads text alone: of other bytes the signature is computed here.
 *
 * @throws Error if the secret begins with `whsec_` and is not base64 after it; any other is its own key
 */
export class SignatureCheck {
  readonly #secret: string;
  readonly #key: Buffer;
  readonly #webhook: Webhook;

  constructor(secret: string) {
    this.#secret = secret;
    const encoded = /^whsec_(.*)/.exec(secret)?.[1];
    this.#key = encoded === undefined ? Buffer.from(secret) : Buffer.from(encoded, 'base64');
    try {
      this.#webhook = encoded === undefined ? new Webhook(secret, { format: 'raw' }) : new Webhook(secret);
    } catch (cause) {
      throw new Error('what follows whsec_ in a secret is base64', { cause });
    }
  }

  /** What is wrong with the signatures, or null if nothing is. */
  problem(headers: IncomingHttpHeaders, body: Buffer): string | null {
    const standard = text(headers['webhook-signature']);
    const simple = text(headers['x-webhook-signature']);
    if (standard === '' && simple === '') return 'not signed';

    if (standard !== '') {
      const problem = this.#standardProblem(headers, body);
      if (problem !== null) return problem;
      // Several signatures: a secret is being rotated. The simple header has room for one secret only.
      if (standard.includes(' ')) return null;
    }
    if (simple !== '' && !this.#matches(simple, body)) return 'x-webhook-signature does not match';
    return null;
  }

  #standardProblem(headers: IncomingHttpHeaders, body: Buffer): string | null {
    const signed = {
      'webhook-id': text(headers['webhook-id']),
      'webhook-timestamp': text(headers['webhook-timestamp']),
      'webhook-signature': text(headers['webhook-signature']),
    };
    try {
      if (isUtf8(body)) this.#webhook.verify(body, signed, { jsonParse: false });
      else this.#verifyBytes(body, signed);
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  /** @throws Error as the library does */
  #verifyBytes(body: Buffer, signed: Record<`webhook-${'id' | 'timestamp' | 'signature'}`, string>): void {
    const [id, timestamp] = [signed['webhook-id'], signed['webhook-timestamp']];
    // Of the empty body: that there is all, and that the time is right.
    this.#webhook.verify(
      '',
      { ...signed, 'webhook-signature': this.#webhook.sign(id, new Date(Number(timestamp) * 1_000), '') },
      { jsonParse: false },
    );
    const expected = createHmac('sha256', this.#key)
      .update(`${id}.${timestamp}.`)
      .update(body)
      .digest('base64');
    if (!signed['webhook-signature'].split(' ').includes(`v1,${expected}`)) {
      throw new Error('No matching signature found');
    }
  }

  #matches(simple: string, body: Buffer): boolean {
    const expected = Buffer.from(`sha256=${createHmac('sha256', this.#secret).update(body).digest('hex')}`);
    const given = Buffer.from(simple);
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}

const text = (header: string | string[] | undefined): string => (typeof header === 'string' ? header : '');
