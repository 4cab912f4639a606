import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { RECORD_HEADER_BYTES, TlsHandshake } from './tls-handshake.js';

/**
 * Bytes of TLS itself (handshake, tickets, records around the answer) that a server may send on a connection. Filled
 * with key updates they cost 30 ms, and a usual server sends under 10 KiB.
 */
export const MAX_TLS_BYTES = 64 * 1024;
/** Handed on between two looks at what came out of TLS; a record has up to as many. */
const PIECE_BYTES = 16 * 1024;

/** A server sent much that is no answer. */
export class TooManyTlsBytes extends Error {
  readonly code = 'ERR_TLS_TOO_MANY_BYTES';

  constructor() {
    super(`the server sent more than ${MAX_TLS_BYTES} bytes of TLS beside its answer`);
  }
}

type Done = (error?: Error | null) => void;

/**
 * Stands between the TCP socket and OpenSSL, and hands on only what is affordable. During the handshake that is one
 * record after the other, each after a look at it ({@link TlsHandshake}); later whatever comes, within a bound:
 * OpenSSL passes over some messages without telling anyone and without a bound, such as key updates, so the bytes that
 * it got are compared with those that came out of it. Around records of a usual size TLS adds a hundredth.
 */
export class TlsTransport extends Duplex {
  private handshake: TlsHandshake | null = new TlsHandshake();
  private tls: TLSSocket | null = null;
  /** Of the record that is coming in. */
  private pieces: Buffer[] = [];
  private pending = 0;
  private isAdvancing = false;
  private handedOn = 0;

  constructor(private readonly tcp: Socket) {
    super();
    tcp.on('data', (bytes: Buffer) => this.receive(bytes));
    tcp.on('end', () => this.push(null));
    tcp.on('close', () => this.destroy());
  }

  /** @param tls the socket that reads from this; it is destroyed when the server sends what is refused */
  serve(tls: TLSSocket): void {
    this.tls = tls;
    tls.on('keylog', (line: Buffer) => this.handshake?.onKey(line));
    this.tcp.on('error', (error) => tls.destroy(error));
    tls.once('close', () => this.destroy());
  }

  override _read(): void {
    this.advance();
    this.tcp.resume();
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: Done): void {
    this.tcp.write(bytes, done);
  }

  override _final(done: Done): void {
    this.tcp.end(done);
  }

  override _destroy(error: Error | null, done: Done): void {
    this.tcp.destroy();
    done(error);
  }

  private receive(bytes: Buffer): void {
    if (this.destroyed) return;
    if (this.handshake === null) {
      this.handOn(bytes);
      return;
    }
    this.pieces.push(bytes);
    this.pending += bytes.length;
    this.advance();
  }

  private handOn(bytes: Buffer): void {
    for (let at = 0; at < bytes.length && !this.destroyed; at += PIECE_BYTES) {
      if (this.handedOn - this.readableLength > MAX_TLS_BYTES + 2 * (this.tls?.bytesRead ?? 0)) {
        this.tls?.destroy(new TooManyTlsBytes());
        return;
      }
      const piece = bytes.length <= PIECE_BYTES ? bytes : bytes.subarray(at, at + PIECE_BYTES);
      this.handedOn += piece.length;
      if (!this.push(piece)) this.tcp.pause();
    }
  }

  /** The next record is looked at when OpenSSL has read the last one, which may have told the key. */
  private advance(): void {
    if (this.isAdvancing) return;
    this.isAdvancing = true;
    try {
      while (this.handshake !== null && this.readableLength === 0 && !this.destroyed) {
        const record = this.takeRecord();
        if (record === null) break;
        this.handshake.read(record);
        if (this.handshake.isOver) this.handshake = null;
        this.handOn(record);
      }
      if (this.handshake === null && this.pending > 0 && !this.destroyed)
        this.handOn(this.takeBytes(this.pending));
    } catch (error) {
      this.tls?.destroy(error as Error);
    } finally {
      this.isAdvancing = false;
    }
  }

  private takeRecord(): Buffer | null {
    const header = this.peek(RECORD_HEADER_BYTES);
    if (header === null) return null;
    const length = TlsHandshake.recordBytes(header);
    return this.pending < length ? null : this.takeBytes(length);
  }

  private peek(length: number): Buffer | null {
    if (this.pending < length) return null;
    if ((this.pieces[0]?.length ?? 0) < length) this.pieces = [Buffer.concat(this.pieces)];
    return this.pieces[0] ?? null;
  }

  private takeBytes(length: number): Buffer {
    const [first, ...others] = this.pieces;
    const all = first && others.length === 0 ? first : Buffer.concat(this.pieces);
    this.pending -= length;
    this.pieces = this.pending === 0 ? [] : [all.subarray(length)];
    return all.subarray(0, length);
  }
}
