import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { Problem } from '../domain/errors.js';

/** What a received piece takes in memory beside its bytes: a body may come a byte at a time. */
const PIECE_OVERHEAD = 256;

declare module 'fastify' {
  interface FastifyRequest {
    /** Bytes of {@link BodyRoom} that its body takes. */
    bodyRoom?: number;
  }
}

interface Reader {
  done: (body: Buffer) => void;
  refuse: (error: Error) => void;
}

/**
 * Reads request bodies as long as all of them together fit into so much memory, from their first byte until their
 * request is answered. Without it, a few hundred callers that each send a body of permitted size would fill a machine.
 */
export class BodyRoom {
  private taken = 0;

  /** @param size in bytes */
  constructor(private readonly size: number) {}

  /** What a body takes is given back when its request has been answered, or its connection has ended. */
  watch(server: FastifyInstance): void {
    server.decorateRequest('bodyRoom', 0);
    server.addHook('preParsing', (request, reply, payload, done) => {
      reply.raw.once('close', () => this.giveBack(request));
      done(null, payload);
    });
  }

  /** Hands over the body, or Problem payload_too_large or overloaded: the rest of it is then read by nobody. */
  read(request: FastifyRequest, stream: IncomingMessage, { done, refuse }: Reader): void {
    const { bodyLimit } = request.routeOptions;
    const declared = Number(request.headers['content-length'] ?? 0);
    const pieces: Buffer[] = [];
    let length = 0;
    const refusal = (most: number): Problem | null => {
      if (most > bodyLimit) return tooLarge(bodyLimit);
      return this.taken + Math.max(most - length, 0) > this.size ? this.overloaded() : null;
    };
    const letGo = (): void => {
      stream.off('data', onData).off('end', onEnd).off('error', onError);
    };
    const onError = (error: Error): void => {
      letGo();
      this.giveBack(request);
      refuse(error);
    };
    const onData = (piece: Buffer): void => {
      length += piece.length;
      this.take(request, piece.length + PIECE_OVERHEAD);
      pieces.push(piece);
      const refused = refusal(length);
      if (refused) onError(refused);
    };
    const onEnd = (): void => {
      letGo();
      // A copy even of a single piece, which may be a view of the buffer that the socket reads into.
      done(Buffer.concat(pieces, length));
    };

    const refused = refusal(declared);
    if (refused) refuse(refused);
    else stream.on('data', onData).on('end', onEnd).on('error', onError);
  }

  private take(request: FastifyRequest, bytes: number): void {
    request.bodyRoom = (request.bodyRoom ?? 0) + bytes;
    this.taken += bytes;
  }

  private giveBack(request: FastifyRequest): void {
    this.taken -= request.bodyRoom ?? 0;
    request.bodyRoom = 0;
  }

  private overloaded(): Problem {
    return new Problem(
      'overloaded',
      `Requests with ${this.taken} bytes are being received. Nothing of this request was stored; send it again after the time in Retry-After.`,
      { retryAfterSeconds: 1 },
    );
  }
}

const tooLarge = (limit: number): Problem =>
  new Problem('payload_too_large', `The body is larger than the ${limit} bytes that this route accepts.`);
