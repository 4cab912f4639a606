import { ChunkedBody } from './chunked-body.js';
import { framingOf, type ResponseFraming } from './response-framing.js';
import { parseHead, type ResponseHead } from './response-head.js';
import { CODED_BYTES_KEPT, isCoded, TEXT_BYTES_KEPT } from './response-text.js';

/** Bytes of status lines, headers, informational answers and blank lines, together. */
export const MAX_HEAD_BYTES = 64 * 1024;
/** Bytes of body, after which the rest is not read. */
export const MAX_BODY_BYTES = 64 * 1024;
/** Bytes of everything: what is beyond the two above is framing, such as chunk extensions and trailers. */
export const MAX_BYTES = 256 * 1024;
/** Informational answers (1xx) before the final one. */
export const MAX_INFORMATIONAL = 16;

/** Pieces of a chunked body: each costs work of its own, however few bytes it has. */
export const MAX_CHUNKS = 4_096;

const CR = 13;
const LF = 10;
const PREFIX = Buffer.from('HTTP/1.');
const EMPTY = Buffer.alloc(0);

/** Why bytes are no HTTP answer. */
export class InvalidResponse extends Error {}

/**
 * Reads one answer from bytes that come in any pieces, without any socket. The head of the final answer decides: once
 * there is a {@link head}, nothing that follows is an error, only a {@link note}. Its work is linear in the bytes, and
 * the bytes are bounded.
 *
 * As a client must be able to (RFC 9110 section 15.2), it passes over informational answers that nothing asked for.
 */
export class ResponseParser {
  /** The final answer's, when it is there. */
  head: ResponseHead | null = null;
  /** The answer has ended, or no more of it is wanted. */
  isDone = false;
  /** Why the answer is not complete, as far as it was read. */
  note: string | null = null;
  /** All bytes so far, whatever they are. */
  bytes = 0;
  /** How many bytes of body, and which of them are kept. */
  bodyBytes = 0;
  readonly kept: Buffer[] = [];
  keptBytes = 0;

  private framing: ResponseFraming | null = null;
  private readonly chunks = new ChunkedBody();
  private keepLimit = TEXT_BYTES_KEPT;
  private chunkCount = 0;
  private informational = 0;
  /** The head so far, in a buffer that doubles, and from where on the end of the head is looked for. */
  private pending = EMPTY;
  private pendingLength = 0;
  private searchFrom = 0;
  private headBytes = 0;
  private isExact = true;

  /** Milliseconds for which the connection may wait for its next request; 0 when it must not be used again. */
  get keepAliveMs(): number {
    const isWhole = this.isDone && this.note === null && this.isExact && !this.chunks.isOdd;
    // After an informational answer that nothing asked for, one cannot be sure to which request the next one belongs.
    return isWhole && this.informational === 0 ? (this.framing?.keepAliveMs ?? 0) : 0;
  }

  /** @throws InvalidResponse until there is a head, when there will be none */
  push(bytes: Buffer): void {
    if (this.isDone) {
      this.isExact = false;
      return;
    }
    const within = bytes.subarray(0, MAX_BYTES - this.bytes);
    this.bytes += bytes.length;
    const rest = this.head === null ? this.readHead(within) : within;
    if (this.head !== null && rest.length > 0) this.readBody(rest);
    if (within.length < bytes.length) this.stop(`more than ${MAX_BYTES} bytes in all`);
  }

  /** The server has closed the connection, or it is lost: what came without an end of its own ends here. */
  end(isOrderly: boolean): void {
    if (this.head === null || this.isDone) return;
    if (this.framing?.body.kind === 'close' && isOrderly) this.finish();
    else this.stop('the connection was closed');
  }

  /** No more is read, because of this. */
  stop(why: string): void {
    if (this.isDone) return;
    this.note ??= `the answer was not complete: ${why}`;
    this.isDone = true;
  }

  /** @returns what follows the final head, empty while there is none */
  private readHead(bytes: Buffer): Buffer {
    let from = bytes;
    for (;;) {
      const start = this.pendingLength === 0 ? skipBlankLines(from) : 0;
      if (start > 0) {
        this.addToHead(start);
        this.isExact = false;
        from = from.subarray(start);
      }
      if (from.length === 0) return EMPTY;
      const inHead = this.pendingLength;
      const text = inHead === 0 ? from : this.append(from);
      checkPrefix(text);
      const end = this.endOfHead(text);
      if (end === -1) {
        if (inHead === 0) this.append(from);
        this.addToHead(0, this.pendingLength);
        return EMPTY;
      }
      this.addToHead(end);
      const head = parseHead(text.toString('latin1', 0, end));
      if (head === null)
        throw new InvalidResponse('its first line is not a status line of HTTP/1.0 or HTTP/1.1');
      from = from.subarray(end - inHead);
      this.pending = EMPTY;
      this.pendingLength = 0;
      this.searchFrom = 0;
      if (head.statusCode >= 200) {
        this.begin(head);
        return from;
      }
      if (head.statusCode === 101)
        throw new InvalidResponse('it switched protocols (101), which was not asked for');
      this.informational += 1;
      if (this.informational > MAX_INFORMATIONAL) {
        throw new InvalidResponse(`more than ${MAX_INFORMATIONAL} informational answers`);
      }
    }
  }

  /** @param unfinished bytes of a head that has not ended, which count as well but not yet for good */
  private addToHead(bytes: number, unfinished = 0): void {
    this.headBytes += bytes;
    if (this.headBytes + unfinished > MAX_HEAD_BYTES) {
      throw new InvalidResponse(`response headers larger than ${MAX_HEAD_BYTES} bytes`);
    }
  }

  private append(bytes: Buffer): Buffer {
    const length = this.pendingLength + bytes.length;
    if (length > this.pending.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, this.pending.length * 2, 1024));
      this.pending.copy(larger, 0, 0, this.pendingLength);
      this.pending = larger;
    }
    bytes.copy(this.pending, this.pendingLength);
    this.pendingLength = length;
    return this.pending.subarray(0, length);
  }

  /** The index after the empty line, or -1; each byte is looked at once, however they come. */
  private endOfHead(text: Buffer): number {
    let lineEnd = text.indexOf(LF, this.searchFrom);
    while (lineEnd !== -1) {
      const next = text[lineEnd + 1];
      if (next === LF) return lineEnd + 2;
      if (next === CR && text[lineEnd + 2] === LF) return lineEnd + 3;
      // The line end stays to be looked at again when what follows it has not come yet.
      if (next === undefined || (next === CR && lineEnd + 2 >= text.length)) break;
      lineEnd = text.indexOf(LF, lineEnd + 1);
    }
    this.searchFrom = lineEnd === -1 ? text.length : lineEnd;
    return -1;
  }

  private begin(head: ResponseHead): void {
    this.head = head;
    this.framing = framingOf(head);
    if (isCoded(head.headers)) this.keepLimit = CODED_BYTES_KEPT;
    if (this.framing.body.kind === 'none') this.finish();
  }

  private readBody(bytes: Buffer): void {
    const body = this.framing?.body;
    if (this.isDone || body === undefined || body.kind === 'none') {
      this.isExact = false;
    } else if (body.kind === 'close') {
      this.keep(bytes);
    } else if (body.kind === 'length') {
      const part = bytes.subarray(0, body.length - this.bodyBytes);
      if (!this.keep(part) || this.bodyBytes < body.length) return;
      this.finish();
      this.isExact &&= part.length === bytes.length;
    } else {
      const used = this.chunks.push(bytes, 0, (part) => this.keepChunk(part));
      if (this.chunks.state === 'broken') this.stop('its chunks are invalid');
      if (this.chunks.state !== 'done') return;
      this.finish();
      this.isExact &&= used === bytes.length;
    }
  }

  /** @returns whether more is wanted */
  private keepChunk(part: Buffer): boolean {
    this.chunkCount += 1;
    if (this.chunkCount <= MAX_CHUNKS) return this.keep(part);
    this.stop(`more than ${MAX_CHUNKS} chunks`);
    return false;
  }

  /** @returns whether more is wanted */
  private keep(part: Buffer): boolean {
    const wanted = part.subarray(0, Math.max(MAX_BODY_BYTES - this.bodyBytes, 0));
    const free = this.keepLimit - this.keptBytes;
    if (free > 0) {
      const kept = wanted.subarray(0, free);
      this.kept.push(kept);
      this.keptBytes += kept.length;
    }
    this.bodyBytes += wanted.length;
    if (wanted.length === part.length) return true;
    this.stop(`more than ${MAX_BODY_BYTES} bytes of body`);
    return false;
  }

  private finish(): void {
    this.isDone = true;
    if (this.framing?.note != null) this.note = `the answer was not complete: ${this.framing.note}`;
  }
}

/** A line end before a status line, left over from something (RFC 9112 section 2.2 lets a server pass over them). */
function skipBlankLines(bytes: Buffer): number {
  let at = 0;
  while (bytes[at] === CR || bytes[at] === LF) at += 1;
  return at;
}

function checkPrefix(text: Buffer): void {
  const length = Math.min(text.length, PREFIX.length);
  if (text.compare(PREFIX, 0, length, 0, length) !== 0) {
    throw new InvalidResponse('it does not begin with HTTP/1.0 or HTTP/1.1');
  }
}
