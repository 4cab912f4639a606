import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judge, type SourceRules, type Verdict } from '../../../../src/domain/providers/judge.js';
import { PROVIDER_NAMES } from '../../../../src/domain/providers/provider-names.js';
import type { ReceivedRequest } from '../../../../src/domain/providers/received-request.js';
import { AT_SECONDS, PUBLIC_URL, rulesOf, SENDERS, sent, type Sender } from './senders.js';

const NOW = AT_SECONDS * 1_000;
const TOLERANCE = 300;

const reasonOf = (verdict: Verdict): string =>
  verdict.kind === 'refused' ? verdict.reason : `taken as ${verdict.kind}`;
const withHeader = (request: ReceivedRequest, name: string, value: string | undefined): ReceivedRequest => ({
  ...request,
  headers: { ...request.headers, [name]: value },
});
const withSignature = (sender: Sender, request: ReceivedRequest, change: (given: string) => string) =>
  withHeader(request, sender.signatureHeader, change(request.headers[sender.signatureHeader]!));

const reasonFor = (sender: Sender) => {
  const rules = rulesOf(sender);
  return (request: ReceivedRequest, nowMs = NOW) => reasonOf(judge(request, rules, nowMs));
};

describe.each(SENDERS)('$name', (sender) => {
  const [first, second, third] = sender.secrets;
  const reason = reasonFor(sender);

  it('is an event when it is signed with the present secret, or with the previous one, and with no other', async () => {
    expect(reason(await sent(sender, { secret: first }))).toBe('taken as event');
    expect(reason(await sent(sender, { secret: second }))).toBe('taken as event');
    expect(reason(await sent(sender, { secret: third }))).toBe('signature_invalid');
    expect(reasonOf(judge(await sent(sender), { ...rulesOf(sender), secrets: [second] }, NOW))).toBe(
      'signature_invalid',
    );
    expect(reasonOf(judge(await sent(sender), { ...rulesOf(sender), secrets: [] }, NOW))).toBe(
      'signature_invalid',
    );
  });

  it('is refused without the signature, with an empty one, a part of one, and something behind it', async () => {
    const request = await sent(sender);
    expect(reason(withHeader(request, sender.signatureHeader, undefined))).toBe('signature_missing');
    expect(reason(withHeader(request, sender.signatureHeader, ''))).toBe('signature_missing');
    expect(reason(withHeader(request, sender.signatureHeader, '  '))).toBe('signature_missing');
    expect(reason(withSignature(sender, request, (given) => given.slice(0, -1)))).toBe('signature_invalid');
    expect(reason(withSignature(sender, request, (given) => `${given}0`))).toBe('signature_invalid');
    const truncations = request.headers[sender.signatureHeader]!.length;
    for (let length = 1; length < truncations; length++) {
      expect(reason(withSignature(sender, request, (given) => given.slice(0, length)))).not.toBe(
        'taken as event',
      );
    }
  });

  it('is refused with one character of the signature changed', async () => {
    const request = await sent(sender);
    const given = request.headers[sender.signatureHeader]!;
    for (let at = 0; at < given.length; at++) {
      const other = given[at] === '0' ? '1' : '0';
      const changed = given.slice(0, at) + other + given.slice(at + 1);
      expect(reason(withHeader(request, sender.signatureHeader, changed)), changed).not.toBe(
        'taken as event',
      );
    }
  });
});

describe.each(SENDERS.filter(({ signsBody }) => signsBody))('$name', (sender) => {
  it('is refused with one byte of the body changed, left out or added', async () => {
    const reason = reasonFor(sender);
    const request = await sent(sender);
    for (let at = 0; at < request.body.length; at++) {
      const changed = Buffer.from(request.body);
      changed[at]! ^= 1;
      expect(reason({ ...request, body: changed }), String(changed)).toBe('signature_invalid');
    }
    expect(reason({ ...request, body: request.body.subarray(1) })).toBe('signature_invalid');
    expect(reason({ ...request, body: request.body.subarray(0, -1) })).toBe('signature_invalid');
    expect(reason({ ...request, body: Buffer.concat([request.body, Buffer.from('1')]) })).toBe(
      'signature_invalid',
    );
  });
});

describe.each(SENDERS.filter(({ isHex }) => isHex))('$name', (sender) => {
  it('may be written in upper case, which is the same bytes', async () => {
    const reason = reasonFor(sender);
    const request = await sent(sender);
    const upper = withSignature(sender, request, (given) =>
      given.replace(/[0-9a-f]{64}/, (digits) => digits.toUpperCase()),
    );
    expect(upper.headers).not.toEqual(request.headers);
    expect(reason(upper)).toBe('taken as event');
  });
});

describe.each(SENDERS.filter(({ isHex }) => !isHex))('$name', (sender) => {
  it('keeps the case of its signature', async () => {
    const reason = reasonFor(sender);
    const request = await sent(sender);
    const upper = withSignature(sender, request, (given) => given.toUpperCase());
    expect(reason(upper)).toBe('signature_invalid');
  });
});

describe.each(SENDERS.filter(({ time }) => time !== undefined))('$name', (sender) => {
  const reason = reasonFor(sender);

  it.each([
    [-TOLERANCE - 1, 'timestamp_out_of_tolerance'],
    [-TOLERANCE, 'taken as event'],
    [TOLERANCE, 'taken as event'],
    [TOLERANCE + 1, 'timestamp_out_of_tolerance'],
    [-86_400 * 365, 'timestamp_out_of_tolerance'],
  ])('sent at %i seconds from now is %s', async (offset, expected) => {
    const request = await sent(sender, { atSeconds: AT_SECONDS + offset });
    expect(reason(request)).toBe(expected);
    // To the end of the last second that is tolerated.
    expect(reason(request, NOW + 999)).toBe(expected);
  });

  it('is refused with another time than was signed, and with none', async () => {
    const request = await sent(sender);
    const [header, from] = timeOf(sender);
    const retimed = (time: string) =>
      withHeader(request, header, request.headers[header]!.replace(from, from.replace(/\d+/, time)));
    expect(reason(retimed(String(AT_SECONDS)))).toBe('taken as event');
    expect(reason(retimed(String(AT_SECONDS + 1)))).toBe('signature_invalid');
    for (const time of ['-1', '1e9', '0x1', `${AT_SECONDS}.5`, 'now', '9'.repeat(40), 'NaN']) {
      expect(reason(retimed(time)), time).toBe('malformed');
    }
    expect(reason(withHeader(request, header, request.headers[header]!.replace(from, '')))).toBe(
      'signature_missing',
    );
  });
});

/** The header that has the time, and the text in it. */
function timeOf(sender: Sender): [string, string] {
  return sender.time === 'item'
    ? [sender.signatureHeader, `t=${AT_SECONDS},`]
    : [sender.time!, String(AT_SECONDS)];
}

describe('a copy of a request without an id', () => {
  const keyOf = async (name: string, more: { body?: string; atSeconds?: number } = {}, nowMs = NOW) => {
    const sender = SENDERS.find((each) => each.name === name)!;
    const verdict = judge(await sent(sender, more), rulesOf(sender), nowMs);
    if (verdict.kind !== 'event') throw new Error(verdict.kind);
    return verdict.repeatKey;
  };

  it.each(['hmac', 'hmac with the time', 'posthorn', 'posthorn with the body alone'])(
    'has the key of the first, at %s, and another body or time has another',
    async (name) => {
      const key = await keyOf(name);
      expect(key).toMatch(/^body:[0-9a-f]{64}$/);
      expect(await keyOf(name)).toBe(key);
      expect(await keyOf(name, { body: '{}' })).not.toBe(key);
      const isTimed = SENDERS.find((each) => each.name === name)!.time !== undefined;
      if (isTimed) expect(await keyOf(name, { atSeconds: AT_SECONDS + 1 })).not.toBe(key);
      else expect(await keyOf(name, {}, NOW + 2 * TOLERANCE * 1_000)).not.toBe(key);
    },
  );

  it('has the key of its span where a time came along that was not signed', async () => {
    const sender = SENDERS.find(({ name }) => name === 'hmac')!;
    const rules = { ...rulesOf(sender), settings: { timestamp_header: 'x-time' } };
    const keys = [0, 1].map((later) => {
      const time = { 'x-time': String(AT_SECONDS + later) };
      return sent(sender).then((request) =>
        judge({ ...request, headers: { ...request.headers, ...time } }, rules, NOW),
      );
    });
    const [first, second] = await Promise.all(keys);
    expect(first).toMatchObject({ kind: 'event', repeatKey: expect.any(String) });
    expect(second).toEqual(first);
  });

  it.each(['bearer', 'basic', 'github', 'stripe', 'standard-webhooks'])(
    'has none at %s, which has an id or signs nothing',
    async (name) => expect(await keyOf(name)).toBeNull(),
  );
});

describe('judge', () => {
  it('names the headers that it misses', () => {
    const bare = { method: 'POST', url: '/', headers: {}, body: Buffer.alloc(0) };
    for (const sender of SENDERS) {
      const verdict = judge(bare, rulesOf(sender), NOW);
      expect(verdict).toMatchObject({ kind: 'refused', reason: 'signature_missing' });
      expect(verdict.kind === 'refused' && verdict.message.toLowerCase()).toContain(sender.signatureHeader);
    }
  });

  it('never throws and takes nothing, whatever unsigned bytes and headers come', () => {
    const names = SENDERS.flatMap(({ signatureHeader, time }) => [signatureHeader, time ?? 'content-type']);
    const values = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.constantFrom(
        'sha256=',
        `t=${AT_SECONDS},v1=`,
        `t=${AT_SECONDS}`,
        'v1,',
        'v1,AAAA',
        'v0=00',
        'Bearer x',
        'Basic',
      ),
      fc.constant(String(AT_SECONDS)),
      fc.constant('application/x-www-form-urlencoded'),
    );
    const headers = fc.dictionary(
      fc.oneof(
        fc.constantFrom(...names, 'webhook-id', 'svix-id'),
        fc.constantFrom('__proto__', 'constructor'),
        fc.string(),
      ),
      fc.option(values, { nil: undefined }),
    );
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
      fc.json().map((text) => Buffer.from(text)),
    );
    const rules = fc.oneof(
      fc.constantFrom(...SENDERS.map(rulesOf)),
      fc.record<SourceRules>({
        provider: fc.constantFrom(...PROVIDER_NAMES),
        settings: fc.constantFrom(
          {},
          { header: 'constructor' },
          { header: '__proto__', timestamp_header: 'toString' },
        ),
        secrets: fc.array(fc.string({ minLength: 1 }), { maxLength: 2 }),
        publicUrl: fc.constantFrom(null, PUBLIC_URL),
      }),
    );
    fc.assert(
      fc.property(headers, bodies, fc.string(), rules, fc.integer(), (given, body, url, source, nowMs) => {
        const request = { method: 'POST', url, headers: given, body };
        expect(judge(request, source, nowMs).kind).toBe('refused');
      }),
      { numRuns: 100 },
    );
  });

  it('takes any bytes that are signed, and says of them only what can be stored', () => {
    const sender = SENDERS.find(({ name }) => name === 'bearer')!;
    const settings = {
      event_type_prefix: 'acme',
      event_type_field: 'type',
      delivery_id_field: 'id',
      delivery_id_header: 'x-id',
    };
    const json = fc
      .record({ type: fc.anything(), id: fc.string({ unit: 'binary' }), more: fc.anything() })
      .map((value) => JSON.stringify(value));
    const bodies = fc.oneof(
      fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      json.map((text) => Buffer.from(text)),
    );
    const contentTypes = fc.oneof(
      fc.constantFrom('application/json', 'application/x-www-form-urlencoded'),
      fc.string({ unit: 'binary' }),
    );
    fc.assert(
      fc.property(bodies, contentTypes, fc.string({ unit: 'binary' }), (body, contentType, id) => {
        const headers = {
          authorization: `Bearer ${sender.secrets[0]}`,
          'content-type': contentType,
          'x-id': id,
        };
        const verdict = judge(
          { method: 'POST', url: '/', headers, body },
          { ...rulesOf(sender), settings },
          NOW,
        );
        if (verdict.kind !== 'event') throw new Error(verdict.kind);
        expect(verdict.eventType).toMatch(/^acme\.[A-Za-z0-9._:/-]{1,251}$/);
        expect(verdict.deliveryId ?? 'none').toMatch(/^[^\p{Cc}\p{Cs}]{1,256}$/u);
        expect(verdict.contentType).toMatch(/^[\x20-\x7e]{1,256}$/);
      }),
      { numRuns: 100 },
    );
  });

  it.each([
    ['nested 100,000 deep', '['.repeat(100_000) + ']'.repeat(100_000)],
    ['nested in a member', `{"type":${'{"a":'.repeat(100_000)}1${'}'.repeat(100_001)}`],
    ['of 200,000 members of the same name', `{${'"type":"a",'.repeat(200_000)}"type":"b"}`],
    ['a form of 200,000 parameters', 'a=1&'.repeat(200_000)],
  ])('is not held up by a body %s', async (_, body) => {
    const sender = SENDERS.find(({ name }) => name === 'bearer')!;
    const request = { ...(await sent(sender)), body: Buffer.from(body) };
    const rules = { ...rulesOf(sender), settings: { event_type_field: 'type' } };
    for (const contentType of ['application/json', 'application/x-www-form-urlencoded']) {
      const verdict = judge(withHeader(request, 'content-type', contentType), rules, NOW);
      expect(verdict).toMatchObject({ kind: 'event', deliveryId: null });
    }
    const twilio = SENDERS.find(({ name }) => name === 'twilio with a form')!;
    expect(judge({ ...(await sent(twilio)), body: Buffer.from(body) }, rulesOf(twilio), NOW).kind).toBe(
      'refused',
    );
  });

  it('takes no form apart of Twilio that is longer than any, before it is believed', async () => {
    const twilio = SENDERS.find(({ name }) => name === 'twilio with a form')!;
    const kindOf = async (length: number) =>
      judge(await sent(twilio, { body: `Body=${'+'.repeat(length - 5)}` }), rulesOf(twilio), NOW).kind;
    expect(await kindOf(262_144)).toBe('event');
    expect(await kindOf(262_145)).toBe('refused');
  });
});
