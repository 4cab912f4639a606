import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Problem } from '../domain/errors.js';
import { EDGE_LIMITS, type EdgeLimits } from './edge-limits.js';

/** What a buffer takes in memory beside its bytes. */
const BUFFER_OVERHEAD = 256;
/** A piece of a body that has so many bytes is kept as it came; smaller ones are copied together. */
const LARGE_PIECE = 4 * 1024;
const MAX_BLOCK = 64 * 1024;

declare module 'fastify' {
  interface FastifyRequest {
    /** Its body, if it has one. */
    upload: Upload | null;
  }
}

interface Reader {
  done: (body: Buffer) => void;
  refuse: (error: Problem) => void;
}

interface Options {
  /** For all bodies together, in bytes; the room is larger where it could not hold {@link largestBody} thrice. */
  size: number;
  /** What the most generous route accepts, in bytes. */
  largestBody: number;
  limits?: Pick<EdgeLimits, 'requestMs' | 'bodyBytesPerSecond' | 'checkMs'>;
}

/**
 * Reads request bodies as long as all of them together fit into so much memory, from their first byte until their
 * request is answered. Without it, a few hundred callers that each send a body of permitted size would fill a machine.
 *
 * A tenant may hold as much as it leaves free: one alone gets half of the room, and n together leave 1/(n + 1) of it,
 * so that the small bodies of another still find a place (dynamic thresholds, Choudhury and Hahne, 1998).
 */
export class BodyRoom {
  private readonly size: number;
  private readonly limits: NonNullable<Options['limits']>;
  private taken = 0;
  /** Bytes of it by {@link Upload.holder}. */
  private readonly heldBy = new Map<string, number>();
  /** Those whose end is awaited. */
  private readonly incomplete = new Set<Upload>();

  constructor({ size, largestBody, limits = EDGE_LIMITS }: Options) {
    // The largest bodies of two tenants, and as much again for it to be free beside them.
    this.size = Math.max(size, 3 * largestBody);
    this.limits = limits;
  }

  /**
   * Has to come before all that refuses requests: it ends connections that are too slow with a body, also with one that
   * no route reads. What a body takes is released when its request has been answered, or its connection has ended.
   */
  watch(server: FastifyInstance): void {
    const { requestMs, checkMs } = this.limits;
    server.decorateRequest('upload', null);
    server.addHook('onRequest', (request, reply, done) => {
      if (hasBody(request.headers)) {
        // No look at it takes away more than the time since the one before, which it has not seen.
        const upload = new Upload(request.raw, reply.raw, requestMs + checkMs);
        request.upload = upload;
        reply.raw.once('close', () => this.end(upload));
      }
      done();
    });
    const looking = setInterval(() => this.cutSlow(), checkMs).unref();
    server.server.once('close', () => clearInterval(looking));
  }

  /**
   * Hands over the body, or Problem payload_too_large, overloaded, request_timeout, or malformed_request when its
   * connection ended first: the rest of it is then not read.
   */
  read(request: FastifyRequest, { done, refuse }: Reader): void {
    const { upload } = request;
    if (!upload) {
      done(Buffer.alloc(0));
      return;
    }
    const { stream, response } = upload;
    const bodyLimit = bodyLimitOf(request);
    const body = new GrowingBody();
    const letGo = (): void => {
      stream.off('data', onData).off('end', onEnd).off('error', onError);
      this.incomplete.delete(upload);
    };
    const fail = (problem: Problem): void => {
      letGo();
      this.giveBack(upload);
      refuse(problem);
    };
    const onError = (): void => {
      fail(new Problem('malformed_request', 'The connection ended before the body did.'));
    };
    const onData = (piece: Buffer): void => {
      this.take(upload, body.add(piece));
      upload.received = body.length;
      if (body.length > bodyLimit) fail(tooLarge(bodyLimit));
      else if (!this.hasRoom(upload, 0)) fail(overloaded());
    };
    const onEnd = (): void => {
      letGo();
      done(body.whole());
    };

    upload.holder = holderOf(request);
    const declared = Number(request.headers['content-length'] ?? 0);
    if (declared > bodyLimit) refuse(tooLarge(bodyLimit));
    else if (!this.hasRoom(upload, declared)) refuse(overloaded());
    else {
      upload.whenTooSlow = () => {
        response.shouldKeepAlive = false;
        fail(new Problem('request_timeout', 'The body took too long to arrive; send it again.'));
      };
      this.incomplete.add(upload);
      stream.on('data', onData).on('end', onEnd).on('error', onError);
      if (upload.isExpected) response.writeContinue();
    }
  }

  private hasRoom({ holder }: Upload, bytes: number): boolean {
    const held = (this.heldBy.get(holder) ?? 0) + bytes;
    return held <= this.size - this.taken - bytes;
  }

  private take(upload: Upload, bytes: number): void {
    upload.held += bytes;
    this.taken += bytes;
    this.heldBy.set(upload.holder, (this.heldBy.get(upload.holder) ?? 0) + bytes);
  }

  private giveBack(upload: Upload): void {
    if (upload.held === 0) return;
    const left = (this.heldBy.get(upload.holder) ?? 0) - upload.held;
    if (left === 0) this.heldBy.delete(upload.holder);
    else this.heldBy.set(upload.holder, left);
    this.taken -= upload.held;
    upload.held = 0;
  }

  private end(upload: Upload): void {
    this.giveBack(upload);
    if (upload.stream.complete) return;
    // Node reads the rest and throws it away, for the client to see its answer.
    upload.whenTooSlow = () => upload.stream.destroy();
    this.incomplete.add(upload);
  }

  private cutSlow(): void {
    for (const upload of this.incomplete) {
      if (upload.stream.complete || upload.stream.destroyed) this.incomplete.delete(upload);
      else if (upload.spendPatience(this.limits) <= 0) {
        this.incomplete.delete(upload);
        upload.whenTooSlow();
      }
    }
  }
}

/** A request's body from its head until nothing of it is left here. */
class Upload {
  /** Whose share of the room it takes. */
  holder = '';
  /** Bytes of the room. */
  held = 0;
  /** Bytes of the body. */
  received = 0;
  whenTooSlow = (): unknown => this.stream.destroy();
  private paidFor = 0;

  constructor(
    readonly stream: IncomingMessage,
    readonly response: ServerResponse,
    private patienceMs: number,
  ) {}

  /** Whether its client waits for 100 Continue (RFC 9110, section 10.1.1). HTTP/1.0 does not know it. */
  get isExpected(): boolean {
    const { headers, httpVersion } = this.stream;
    return headers.expect?.toLowerCase() === '100-continue' && httpVersion === '1.1';
  }

  /** Every byte buys time, but never more than there was at first. To be called each `checkMs`. */
  spendPatience({ requestMs, checkMs, bodyBytesPerSecond }: NonNullable<Options['limits']>): number {
    const earnedMs = ((this.received - this.paidFor) * 1_000) / bodyBytesPerSecond;
    this.paidFor = this.received;
    this.patienceMs = Math.min(this.patienceMs - checkMs + earnedMs, requestMs);
    return this.patienceMs;
  }
}

/** Takes little more memory than its bytes, even when they come one at a time. */
class GrowingBody {
  length = 0;
  private readonly buffers: Buffer[] = [];
  /** What is left of the last buffer. */
  private free: Buffer | null = null;

  /** @returns the bytes of memory that are taken for it */
  add(piece: Buffer): number {
    const isFirst = this.length === 0;
    this.length += piece.length;
    let rest = piece;
    if (this.free) {
      const copied = piece.copy(this.free);
      this.free = this.free.subarray(copied);
      if (copied === piece.length) return 0;
      rest = piece.subarray(copied);
    }
    if (isFirst || rest.length >= LARGE_PIECE) {
      this.buffers.push(rest);
      this.free = null;
      return rest.length + BUFFER_OVERHEAD;
    }
    const block = Buffer.allocUnsafeSlow(Math.min(Math.max(this.length >> 1, LARGE_PIECE), MAX_BLOCK));
    this.buffers.push(block);
    this.free = block.subarray(rest.copy(block));
    return block.length + BUFFER_OVERHEAD;
  }

  /** A copy even of a single piece, which may be a view of the buffer that the socket reads into. */
  whole(): Buffer {
    return Buffer.concat(this.buffers, this.length);
  }
}

/** RFC 9112, section 6: one of the two tells that there is one. */
function hasBody(headers: IncomingHttpHeaders): boolean {
  const length = headers['content-length'];
  return (length !== undefined && length !== '0') || headers['transfer-encoding'] !== undefined;
}

/** What the route takes, or less where the provider of a source never sends as much. */
function bodyLimitOf({ routeOptions, caller }: FastifyRequest): number {
  return Math.min(routeOptions.bodyLimit, caller?.kind === 'source' ? caller.maxBodyBytes : Infinity);
}

function holderOf({ caller }: FastifyRequest): string {
  if (caller?.kind === 'tenant') return caller.tenantId;
  // Who knows the address of a source fills the room of its tenant's sources, and not that of its keys.
  if (caller?.kind === 'source') return `${caller.tenantId}:sources`;
  return caller?.kind ?? 'anybody';
}

const tooLarge = (limit: number): Problem =>
  new Problem('payload_too_large', `The body is larger than the ${limit} bytes that are accepted here.`);

const overloaded = (): Problem =>
  new Problem(
    'overloaded',
    'Too many bytes of requests are being received, of this tenant or of all. Nothing of this request was stored; send it again after the time in Retry-After.',
    { retryAfterSeconds: 1 },
  );
