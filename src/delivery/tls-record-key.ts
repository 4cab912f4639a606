import { createDecipheriv, createHmac } from 'node:crypto';

const TAG_BYTES = 16;
const IV_BYTES = 12;

/** The cipher suites of TLS 1.3 (RFC 8446 appendix B.4) that OpenSSL offers, by their number. */
const SUITES = {
  0x1301: { cipher: 'aes-128-gcm', hash: 'sha256', keyBytes: 16 },
  0x1302: { cipher: 'aes-256-gcm', hash: 'sha384', keyBytes: 32 },
  0x1303: { cipher: 'chacha20-poly1305', hash: 'sha256', keyBytes: 32 },
} as const;

/** Reads what the other side sends under one traffic secret of TLS 1.3 (RFC 8446 section 5.2). */
export class TlsRecordKey {
  private readonly cipher: 'aes-128-gcm';
  private readonly key: Buffer;
  private readonly iv: Buffer;
  private records = 0;

  private constructor(suite: (typeof SUITES)[keyof typeof SUITES], secret: Buffer) {
    // The types of node:crypto know the ciphers one by one; all of these are used alike.
    this.cipher = suite.cipher as 'aes-128-gcm';
    this.key = expand(suite.hash, secret, 'key', suite.keyBytes);
    this.iv = expand(suite.hash, secret, 'iv', IV_BYTES);
  }

  /** @returns null for a suite that is not one of TLS 1.3 */
  static of(suiteNumber: number, secret: Buffer): TlsRecordKey | null {
    const suite = suiteNumber in SUITES ? SUITES[suiteNumber as keyof typeof SUITES] : undefined;
    return suite === undefined ? null : new TlsRecordKey(suite, secret);
  }

  /**
   * @param record with its header; the next one in order
   * @returns the content with its type in the last octet, or null if it is not what the other side has sent
   */
  open(record: Buffer): Buffer | null {
    if (record.length < 5 + TAG_BYTES) return null;
    const nonce = Buffer.from(this.iv);
    nonce.writeUInt32BE((nonce.readUInt32BE(IV_BYTES - 4) ^ this.records) >>> 0, IV_BYTES - 4);
    this.records += 1;
    const decipher = createDecipheriv(this.cipher, this.key, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(record.subarray(0, 5)).setAuthTag(record.subarray(-TAG_BYTES));
    try {
      const padded = Buffer.concat([decipher.update(record.subarray(5, -TAG_BYTES)), decipher.final()]);
      const end = padded.findLastIndex((octet) => octet !== 0);
      return padded.subarray(0, end + 1);
    } catch {
      return null;
    }
  }
}

/** HKDF-Expand-Label without a context (RFC 8446 section 7.1), for lengths of at most one hash. */
function expand(hash: string, secret: Buffer, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])]);
  return createHmac(hash, secret).update(info).digest().subarray(0, length);
}
