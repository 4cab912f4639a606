/** Certificates that a server may send; a usual chain has two to four. */
export const MAX_CERTIFICATES = 6;
/** Bits. To verify a signature costs time that grows with the square of this. */
const MAX_RSA_BITS = 8_192;
/** 65,537 is usual. To verify a signature costs time that grows with this. */
const MAX_RSA_EXPONENT_BITS = 32;

const KINDS_TAKEN = 'RSA of up to 8192 bits, ECDSA with P-256, P-384 or P-521, Ed25519 and Ed448';

/** The algorithms of public keys whose signatures cost under 2 ms to verify, by object identifier (DER, hexadecimal). */
const KEY_CHECKS: Record<string, (parameters: Buffer, key: Buffer) => boolean> = {
  '2a864886f70d010101': (_, key) => isAffordableRsa(key), // rsaEncryption, RFC 8017
  '2a864886f70d01010a': (_, key) => isAffordableRsa(key), // RSASSA-PSS, RFC 8017
  '2a8648ce3d0201': (parameters) => CURVES.has(parameters.toString('hex')), // id-ecPublicKey, RFC 5480
  '2b6570': () => true, // Ed25519, RFC 8410
  '2b6571': () => true, // Ed448, RFC 8410
};
/** P-256, P-384 and P-521 by name (RFC 5480 section 2.1.1.1). Others cost up to twice as much, or come in parts. */
const CURVES = new Set(['06082a8648ce3d030107', '06052b81040022', '06052b81040023']);

/** A server's chain of certificates costs more to verify than a webhook is worth, or is none. */
export class RefusedChain extends Error {
  readonly code = 'ERR_TLS_REFUSED_CHAIN';
}

/**
 * Looks at what it would cost to verify a chain, without verifying anything: OpenSSL verifies every signature of a
 * chain, also of one that leads to no known authority, and takes any number and any algorithm.
 * @param certificates in DER, as the server sent them
 * @throws RefusedChain
 */
export function checkChainCost(certificates: readonly Buffer[]): void {
  if (certificates.length > MAX_CERTIFICATES) {
    throw new RefusedChain(
      `the server sent ${certificates.length} certificates, and at most ${MAX_CERTIFICATES} are taken`,
    );
  }
  for (const [index, certificate] of certificates.entries()) {
    const which = `certificate ${index + 1} of the server`;
    const key = publicKeyOf(certificate);
    if (key === null) throw new RefusedChain(`${which} is not an X.509 certificate in DER`);
    if (KEY_CHECKS[key.algorithm]?.(key.parameters, key.bits) !== true) {
      throw new RefusedChain(`${which} has a kind of key that is not taken; taken are ${KINDS_TAKEN}`);
    }
  }
}

interface PublicKey {
  algorithm: string;
  parameters: Buffer;
  bits: Buffer;
}

/** @returns the subjectPublicKeyInfo of a certificate (RFC 5280 section 4.1), or null if it has none */
function publicKeyOf(certificate: Buffer): PublicKey | null {
  const body = child(child(certificate, SEQUENCE)?.content, SEQUENCE)?.content;
  if (body === undefined) return null;
  const isVersioned = body[0] === VERSION;
  const beforeKey = [...(isVersioned ? [VERSION] : []), INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE];
  let rest = body;
  for (const tag of beforeKey) {
    const field = child(rest, tag);
    if (field === null) return null;
    rest = field.rest;
  }
  const info = child(rest, SEQUENCE);
  const algorithm = child(info?.content, SEQUENCE);
  const identifier = child(algorithm?.content, OBJECT_IDENTIFIER);
  const bits = child(algorithm?.rest, BIT_STRING);
  if (identifier === null || bits === null) return null;
  // The first octet of a bit string says how many bits of the last one do not count.
  return {
    algorithm: identifier.content.toString('hex'),
    parameters: identifier.rest,
    bits: bits.content.subarray(1),
  };
}

/** @param key RSAPublicKey (RFC 8017 appendix A.1.1) */
function isAffordableRsa(key: Buffer): boolean {
  const modulus = child(child(key, SEQUENCE)?.content, INTEGER);
  const exponent = child(modulus?.rest, INTEGER);
  if (modulus === null || exponent === null) return false;
  return bitsOf(modulus.content) <= MAX_RSA_BITS && bitsOf(exponent.content) <= MAX_RSA_EXPONENT_BITS;
}

function bitsOf(integer: Buffer): number {
  const first = integer.findIndex((octet) => octet !== 0);
  return first === -1 ? 0 : (integer.length - first) * 8 - Math.clz32(integer[first] ?? 0) + 24;
}

const INTEGER = 0x02;
const BIT_STRING = 0x03;
const OBJECT_IDENTIFIER = 0x06;
const SEQUENCE = 0x30;
const VERSION = 0xa0;

interface Element {
  content: Buffer;
  /** What comes behind it. */
  rest: Buffer;
}

/** @returns the first element if it has this tag and a definite length that is there (X.690), else null */
function child(bytes: Buffer | undefined, tag: number): Element | null {
  if (bytes === undefined || bytes.length < 2 || bytes[0] !== tag) return null;
  const first = bytes[1] ?? 0;
  const octets = first < 0x80 ? 0 : first - 0x80;
  const start = 2 + octets;
  if (octets > 3 || first === 0x80 || bytes.length < start) return null;
  const length = octets === 0 ? first : bytes.readUIntBE(2, octets);
  if (bytes.length < start + length) return null;
  return { content: bytes.subarray(start, start + length), rest: bytes.subarray(start + length) };
}
