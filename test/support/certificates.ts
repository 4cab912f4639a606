import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

/** X.509 certificates made at run time, since node:crypto makes none and not every machine has the openssl program. */

export interface Certificate {
  name: string;
  /** PEM. */
  cert: string;
  /** PEM. */
  key: string;
  keyObject: KeyObject;
}

export interface CertificateOptions {
  /** By default it signs itself. */
  issuer?: Certificate;
  isAuthority?: boolean;
  /** Days from now until it is valid; negative ones are over. */
  validFromDays?: number;
  validUntilDays?: number;
  /** By default of ECDSA with P-256. */
  keys?: { publicKey: KeyObject; privateKey: KeyObject };
}

const DAY_MS = 86_400_000;
/** Algorithms of signatures with SHA-256, by the kind of key that signs (RFC 5758, RFC 8017). */
const SIGNATURES: Record<string, string> = {
  ec: '06082a8648ce3d040302',
  rsa: '06092a864886f70d01010b0500',
};
const COMMON_NAME = '0603550403';
const BASIC_CONSTRAINTS = '0603551d13';
const SUBJECT_ALT_NAME = '0603551d11';
const TRUE = '0101ff';

/** @param name the host that it is for, as common name and as DNS name (RFC 5280) */
export function certificateFor(name: string, options: CertificateOptions = {}): Certificate {
  const { publicKey, privateKey } = options.keys ?? generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { issuer, isAuthority = false, validFromDays = -1, validUntilDays = 1 } = options;
  const signer = issuer?.keyObject ?? privateKey;
  const algorithm = sequence(SIGNATURES[signer.asymmetricKeyType ?? ''] ?? '');
  const constraints = sequence(BASIC_CONSTRAINTS, TRUE, der(0x04, sequence(isAuthority ? TRUE : '')));
  const names = sequence(SUBJECT_ALT_NAME, der(0x04, sequence(der(0x82, hexOf(name)))));
  const body = sequence(
    der(0xa0, '020102'), // version 3
    der(0x02, `01${randomBytes(8).toString('hex')}`),
    algorithm,
    nameOf(issuer?.name ?? name),
    sequence(time(validFromDays), time(validUntilDays)),
    nameOf(name),
    publicKey.export({ type: 'spki', format: 'der' }).toString('hex'),
    der(0xa3, sequence(constraints, names)),
  );
  const signature = sign('sha256', Buffer.from(body, 'hex'), signer);
  const whole = sequence(body, algorithm, der(0x03, `00${signature.toString('hex')}`));
  const base64 = Buffer.from(whole, 'hex')
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return {
    name,
    cert: `-----BEGIN CERTIFICATE-----\n${base64}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    keyObject: privateKey,
  };
}

/** Tag, length and content (X.690), all in hexadecimal. */
function der(tag: number, content: string): string {
  const length = content.length / 2;
  const digits = length.toString(16);
  const even = digits.padStart(digits.length + (digits.length % 2), '0');
  const prefix = length < 128 ? '' : (0x80 + even.length / 2).toString(16);
  return tag.toString(16).padStart(2, '0') + prefix + even + content;
}

const sequence = (...parts: string[]): string => der(0x30, parts.join(''));
const hexOf = (text: string): string => Buffer.from(text).toString('hex');
const nameOf = (name: string): string => sequence(der(0x31, sequence(COMMON_NAME, der(0x0c, hexOf(name)))));

function time(days: number): string {
  const at = new Date(Date.now() + days * DAY_MS).toISOString().replace(/[-:T]|\.\d+/g, '');
  return der(0x18, hexOf(at)); // GeneralizedTime
}
