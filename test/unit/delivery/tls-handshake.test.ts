import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RefusedChain } from '../../../src/delivery/certificate-chain.js';
import {
  MAX_HANDSHAKE_RECORDS,
  RefusedHandshake,
  TlsHandshake,
} from '../../../src/delivery/tls-handshake.js';

const record = (type: number, ...contents: Buffer[]): Buffer => {
  const content = Buffer.concat(contents);
  return Buffer.concat([Buffer.from([type, 3, 3, content.length >> 8, content.length & 0xff]), content]);
};
const message = (type: number, body: Buffer): Buffer => {
  const head = Buffer.from([type, 0, 0, 0]);
  head.writeUIntBE(body.length, 1, 3);
  return Buffer.concat([head, body]);
};
const handshake = (...messages: Buffer[]): Buffer => record(22, ...messages);

const hello = (random: Buffer): Buffer =>
  message(2, Buffer.concat([Buffer.from([3, 3]), random, Buffer.from([0, 0x13, 0x01, 0, 0, 0])]));
const HELLO = hello(randomBytes(32));
const RETRY = hello(Buffer.from('cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c', 'hex'));
/** A list with one certificate, which is none. */
const BAD_CHAIN = message(11, Buffer.from([0, 0, 4, 0, 0, 1, 0x30]));
const NO_CHAIN = message(11, Buffer.from([0, 0, 0]));
const CHANGE_CIPHER_SPEC = record(20, Buffer.from([1]));
const ALERT = record(21, Buffer.from([1, 0]));
const KEY = Buffer.from(`SERVER_HANDSHAKE_TRAFFIC_SECRET 00 ${'11'.repeat(32)}\n`);

/** Reads the records; OpenSSL tells the key behind the one at `keyAfter`. */
function read(records: Buffer[], keyAfter = -1): TlsHandshake {
  const inspected = new TlsHandshake();
  for (const [index, each] of records.entries()) {
    inspected.read(each);
    if (index === keyAfter) inspected.onKey(KEY);
  }
  return inspected;
}

describe('what a server sends before its certificates', () => {
  it.each<[string, Buffer[], boolean]>([
    ['certificates that are affordable', [handshake(HELLO), handshake(NO_CHAIN)], true],
    ['a session that is resumed', [handshake(HELLO), CHANGE_CIPHER_SPEC], true],
    ['a change of the cipher before anything', [CHANGE_CIPHER_SPEC], false],
    ['a change of the cipher after a HelloRetryRequest', [handshake(RETRY), CHANGE_CIPHER_SPEC], false],
    ['a finish without a key', [handshake(HELLO), handshake(message(20, Buffer.alloc(12)))], false],
    ['an alert', [handshake(HELLO), ALERT], false],
    ['a hello in two records', [handshake(HELLO.subarray(0, 20)), handshake(HELLO.subarray(20))], false],
  ])('is read on or not after %s', (_, records, isOver) => {
    expect(read(records).isOver).toBe(isOver);
  });

  it.each<[string, Buffer[], number?]>([
    ['certificates in the record of the hello', [handshake(HELLO, BAD_CHAIN)]],
    [
      'certificates after a change of the cipher too early',
      [CHANGE_CIPHER_SPEC, handshake(HELLO, BAD_CHAIN)],
    ],
    [
      'certificates after a HelloRetryRequest',
      [handshake(RETRY), CHANGE_CIPHER_SPEC, handshake(HELLO, BAD_CHAIN)],
    ],
    [
      'certificates in two records',
      [handshake(HELLO, BAD_CHAIN.subarray(0, 5)), handshake(BAD_CHAIN.subarray(5))],
    ],
    ['certificates after an alert', [ALERT, handshake(HELLO), handshake(BAD_CHAIN)]],
    ['certificates whose list is cut off', [handshake(HELLO, message(11, Buffer.from([0, 0, 9])))]],
    ['certificates that are compressed', [handshake(HELLO, message(25, Buffer.alloc(9)))]],
    ['a hello that is too short', [handshake(message(2, Buffer.alloc(30)))]],
    ['data', [handshake(HELLO), record(23, Buffer.alloc(30))]],
    ['a record that is not encrypted', [handshake(HELLO), handshake(NO_CHAIN)], 0],
    ['a record that cannot be decrypted', [handshake(HELLO), record(23, Buffer.alloc(40))], 0],
    ['a record that is too short to be decrypted', [handshake(HELLO), record(23, Buffer.alloc(4))], 0],
    ['many records', Array.from({ length: MAX_HANDSHAKE_RECORDS + 1 }, () => handshake())],
    ['many bytes', Array.from({ length: 3 }, () => handshake(Buffer.alloc(16_000)))],
  ])('is refused: %s', (_, records, keyAfter) => {
    expect(() => read(records, keyAfter)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^ERR_TLS_/) }),
    );
  });

  it('is read or refused, whatever it is', () => {
    const content = fc.uint8Array({ maxLength: 80 }).map((octets) => Buffer.from(octets));
    const some = fc.oneof(fc.constantFrom(HELLO, RETRY, BAD_CHAIN, NO_CHAIN), content);
    const records = fc.array(fc.tuple(fc.integer({ min: 20, max: 23 }), fc.array(some, { maxLength: 3 })));
    fc.assert(
      fc.property(records, fc.integer({ min: -1, max: 4 }), (list, keyAfter) => {
        try {
          read(
            list.map(([type, contents]) => record(type, ...contents)),
            keyAfter,
          );
        } catch (error) {
          expect(error instanceof RefusedHandshake || error instanceof RefusedChain).toBe(true);
        }
      }),
    );
  });

  it.each([
    ['text', '4854545031'],
    ['another version', '1602000005'],
    ['another type', '1803030005'],
    ['a record that is too long', '16030348a1'],
  ])('is not TLS when it begins with %s', (_, header) => {
    expect(() => TlsHandshake.recordBytes(Buffer.from(header, 'hex'))).toThrow(/does not speak TLS$/);
    expect(TlsHandshake.recordBytes(Buffer.from('1603010005', 'hex'))).toBe(10);
  });
});
