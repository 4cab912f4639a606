import { checkChainCost, RefusedChain } from './certificate-chain.js';
import { TlsRecordKey } from './tls-record-key.js';

/** Octets of a record's header: type, version, length (RFC 8446 section 5.1). */
export const RECORD_HEADER_BYTES = 5;
/** Of TLS 1.2, which allows more than TLS 1.3 (RFC 5246 section 6.2.3). */
const MAX_RECORD_BYTES = 16_384 + 2_048;
/** What a server may send up to the end of its certificates; a usual one needs 2 to 8 KiB in 2 to 6 records. */
export const MAX_HANDSHAKE_BYTES = 32 * 1024;
export const MAX_HANDSHAKE_RECORDS = 64;

const CHANGE_CIPHER_SPEC = 20;
const ALERT = 21;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;

const SERVER_HELLO = 2;
const CERTIFICATE = 11;
const FINISHED = 20;
/** What else may come before the certificates: HelloRequest, NewSessionTicket, EncryptedExtensions, CertificateRequest. */
const OTHERS = new Set([0, 4, 8, 13]);
/** The random of a ServerHello that is a HelloRetryRequest (RFC 8446 section 4.1.3). */
const RETRY = 'cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c';

/** A server does not speak TLS as this client does. */
export class RefusedHandshake extends Error {
  readonly code = 'ERR_TLS_REFUSED_HANDSHAKE';
}

/**
 * Reads the server's part of a handshake before OpenSSL does, up to its certificates, whose cost it checks. In
 * TLS 1.2 they can be read by anyone; in TLS 1.3 with the key that OpenSSL reports once it has read the ServerHello.
 *
 * It need not find out whether the handshake is correct. It must only never miss certificates that OpenSSL takes, so
 * what it does not know is refused.
 */
export class TlsHandshake {
  /** No certificates can come any more that OpenSSL would verify. */
  isOver = false;

  private suite = 0;
  private hasHello = false;
  private key: TlsRecordKey | null = null;
  private unfinished = Buffer.alloc(0);
  private records = 0;
  private bytes = 0;

  /**
   * @param header of a record
   * @returns octets of the record together with its header
   * @throws RefusedHandshake if it is not one of TLS
   */
  static recordBytes(header: Buffer): number {
    const type = header[0] ?? 0;
    const length = header.readUInt16BE(3);
    if (
      type < CHANGE_CIPHER_SPEC ||
      type > APPLICATION_DATA ||
      header[1] !== 3 ||
      length > MAX_RECORD_BYTES
    ) {
      throw new RefusedHandshake('the server does not speak TLS');
    }
    return RECORD_HEADER_BYTES + length;
  }

  /** @param line of the key log that OpenSSL writes (RFC 9850) */
  onKey(line: Buffer): void {
    const [label, , secret = ''] = line.toString('latin1').trim().split(' ');
    if (label !== 'SERVER_HANDSHAKE_TRAFFIC_SECRET') return;
    this.key = TlsRecordKey.of(this.suite, Buffer.from(secret, 'hex'));
  }

  /**
   * To be called with each record before OpenSSL gets it, and after OpenSSL has read the one before.
   * @throws RefusedHandshake or RefusedChain if OpenSSL must not get it
   */
  read(record: Buffer): void {
    this.records += 1;
    this.bytes += record.length;
    if (this.bytes > MAX_HANDSHAKE_BYTES || this.records > MAX_HANDSHAKE_RECORDS) {
      throw new RefusedHandshake(
        `the server sent more than ${MAX_HANDSHAKE_BYTES} bytes or ${MAX_HANDSHAKE_RECORDS} records before the end of its certificates`,
      );
    }
    const type = record[0];
    if (type === ALERT) return;
    if (type === CHANGE_CIPHER_SPEC) {
      // In TLS 1.3 it means nothing. Before, it ends a handshake that resumes a session, which has no certificates.
      if (this.hasHello && this.key === null) this.isOver = true;
      return;
    }
    if (this.key === null) {
      if (type !== HANDSHAKE) throw new RefusedHandshake('the server sent data before its handshake');
      this.readMessages(record.subarray(RECORD_HEADER_BYTES));
      return;
    }
    const content = type === APPLICATION_DATA ? this.key.open(record) : null;
    if (content === null) throw new RefusedHandshake('the server sent a record that cannot be decrypted');
    if (content.at(-1) === HANDSHAKE) this.readMessages(content.subarray(0, -1));
  }

  private readMessages(content: Buffer): void {
    let rest = this.unfinished.length === 0 ? content : Buffer.concat([this.unfinished, content]);
    while (rest.length >= 4 && !this.isOver) {
      const end = 4 + rest.readUIntBE(1, 3);
      if (rest.length < end) break;
      this.readMessage(rest[0] ?? 0, rest.subarray(4, end));
      rest = rest.subarray(end);
    }
    this.unfinished = Buffer.from(rest);
  }

  private readMessage(type: number, body: Buffer): void {
    switch (type) {
      case SERVER_HELLO:
        this.readHello(body);
        break;
      case CERTIFICATE:
        checkChainCost(this.key === null ? chainOfTls12(body) : chainOfTls13(body));
        this.isOver = true;
        break;
      case FINISHED:
        // A session is resumed: there are no certificates.
        this.isOver = this.key !== null;
        break;
      default:
        if (!OTHERS.has(type)) {
          throw new RefusedHandshake(`the server sent a handshake message of type ${type} too early`);
        }
    }
  }

  private readHello(body: Buffer): void {
    const suiteAt = 35 + (body[34] ?? 0);
    if (body.length < suiteAt + 2)
      throw new RefusedHandshake('the server sent a ServerHello that is too short');
    this.suite = body.readUInt16BE(suiteAt);
    this.hasHello = body.toString('hex', 2, 34) !== RETRY;
  }
}

/** The certificates of a message of TLS 1.2 (RFC 5246 section 7.4.2). */
function chainOfTls12(body: Buffer): Buffer[] {
  const chain: Buffer[] = [];
  for (let list = vector(body, 3).content; list.length > 0;) {
    const { content, rest } = vector(list, 3);
    chain.push(content);
    list = rest;
  }
  return chain;
}

/** The certificates of a message of TLS 1.3 (RFC 8446 section 4.4.2): behind each one are its extensions. */
function chainOfTls13(body: Buffer): Buffer[] {
  const chain: Buffer[] = [];
  for (let list = vector(vector(body, 1).rest, 3).content; list.length > 0;) {
    const { content, rest } = vector(list, 3);
    chain.push(content);
    list = vector(rest, 2).rest;
  }
  return chain;
}

/** @param octets of the length before the content (RFC 8446 section 3.4) */
function vector(bytes: Buffer, octets: 1 | 2 | 3): { content: Buffer; rest: Buffer } {
  const end = bytes.length < octets ? Infinity : octets + bytes.readUIntBE(0, octets);
  if (bytes.length < end) throw new RefusedChain('the server sent a list of certificates that is cut off');
  return { content: bytes.subarray(octets, end), rest: bytes.subarray(end) };
}
