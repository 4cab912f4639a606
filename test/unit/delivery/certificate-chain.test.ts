import {
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  X509Certificate,
} from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkChainCost, MAX_CERTIFICATES, RefusedChain } from '../../../src/delivery/certificate-chain.js';
import { certificateFor } from '../../support/certificates.js';

const authority = certificateFor('authority', { isAuthority: true });

function certificateWith(publicKey: KeyObject): Buffer {
  const keys = { publicKey, privateKey: authority.keyObject };
  return new X509Certificate(certificateFor('hooks.example.test', { issuer: authority, keys }).cert).raw;
}

/** A public key needs no primes. */
function rsa(bits: number, exponent: number): KeyObject {
  const modulus = randomBytes(Math.ceil(bits / 8));
  modulus[0] = bits % 8 === 0 ? 0xff : (1 << (bits % 8)) - 1;
  modulus[modulus.length - 1]! |= 1;
  const e = Buffer.alloc(8);
  e.writeBigUInt64BE(BigInt(exponent));
  const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: e.toString('base64url') };
  return createPublicKey({ key: jwk, format: 'jwk' });
}
const ec = (namedCurve: string, paramEncoding: 'named' | 'explicit' = 'named'): KeyObject =>
  generateKeyPairSync('ec', { namedCurve, paramEncoding }).publicKey;

describe('the key of a certificate', () => {
  it.each<[string, KeyObject]>([
    ['RSA of 2048 bits', rsa(2_048, 65_537)],
    ['RSA of 8192 bits', rsa(8_192, 65_537)],
    ['RSA with an exponent of 3', rsa(2_048, 3)],
    ['RSA with an exponent of 32 bits', rsa(2_048, 2 ** 32 - 1)],
    ['RSA for PSS only', generateKeyPairSync('rsa-pss', { modulusLength: 2_048 }).publicKey],
    ['P-256', ec('P-256')],
    ['P-384', ec('P-384')],
    ['P-521', ec('P-521')],
    ['Ed25519', generateKeyPairSync('ed25519').publicKey],
    ['Ed448', generateKeyPairSync('ed448').publicKey],
  ])('is taken: %s', (_, key) => {
    expect(() => checkChainCost([certificateWith(key)])).not.toThrow();
  });

  it.each<[string, KeyObject]>([
    ['RSA of 8193 bits', rsa(8_193, 65_537)],
    ['RSA of 16384 bits', rsa(16_384, 65_537)],
    ['RSA with an exponent of 33 bits', rsa(2_048, 2 ** 32 + 1)],
    ['sect571r1', ec('sect571r1')],
    ['secp256k1', ec('secp256k1')],
    ['brainpoolP512r1', ec('brainpoolP512r1')],
    ['P-256 with its parameters written out', ec('P-256', 'explicit')],
    ['DSA', generateKeyPairSync('dsa', { modulusLength: 1_024, divisorLength: 160 }).publicKey],
    ['X25519, which signs nothing', generateKeyPairSync('x25519').publicKey],
  ])('is not taken: %s', (_, key) => {
    const chain = [certificateWith(ec('P-256')), certificateWith(key)];
    expect(() => checkChainCost(chain)).toThrow(/^certificate 2 of the server has a kind of key that is not/);
  });
});

describe('a chain', () => {
  const certificate = certificateWith(ec('P-256'));

  it(`has at most ${MAX_CERTIFICATES} certificates`, () => {
    const chain = Array.from({ length: MAX_CERTIFICATES }, () => certificate);
    expect(() => checkChainCost(chain)).not.toThrow();
    expect(() => checkChainCost([...chain, certificate])).toThrow(RefusedChain);
  });

  it('of whatever octets is taken or refused, and never anything else', () => {
    const broken = fc
      .tuple(fc.nat(certificate.length - 1), fc.integer({ min: 0, max: 255 }), fc.nat(certificate.length))
      .map(([at, octet, length]) => {
        const copy = Buffer.from(certificate);
        copy[at] = octet;
        return copy.subarray(0, length);
      });
    fc.assert(
      fc.property(
        fc.oneof(
          broken,
          fc.uint8Array().map((octets) => Buffer.from(octets)),
        ),
        (octets) => {
          try {
            checkChainCost([octets]);
          } catch (error) {
            expect(error).toBeInstanceOf(RefusedChain);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it('that is cut off is refused', () => {
    for (let length = 0; length < 200; length += 1) {
      expect(() => checkChainCost([certificate.subarray(0, length)])).toThrow(/is not an X\.509 certificate/);
    }
  });
});
