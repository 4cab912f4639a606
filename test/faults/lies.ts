import type { Socket } from 'node:net';

/** Lies of a kind take turns. */
export type LieKind = 'broken off' | 'without end' | 'strange yes';

/** What a bad subscriber does to the bytes of its answer. */
export interface Lie {
  /** Whether what it says is, by the rules of HTTP, a complete 2xx; null where that depends on timing. */
  accepted: boolean | null;
  status: number;
  /** Told before the body of the request was read. */
  beforeBody: boolean;
  tell(socket: Socket): unknown;
}

const lie = (accepted: boolean | null, tell: Lie['tell'], status = 200, beforeBody = false): Lie => ({
  accepted,
  status,
  beforeBody,
  tell,
});
const head = (status: string, ...headers: string[]): string =>
  `HTTP/1.1 ${[status, ...headers].join('\r\n')}\r\n\r\n`;

/** A body without an end is fed for so long as somebody listens. */
function feed(socket: Socket, chunk: string, everyMs: number): void {
  const timer = setInterval(() => {
    if (socket.destroyed) clearInterval(timer);
    else if (socket.writableLength < 1_000_000) socket.write(chunk);
  }, everyMs);
}

export const LIES: Record<LieKind, Lie[]> = {
  // The head of an answer decides: with one that says yes, what follows may break off or have no end.
  'broken off': [
    lie(false, (socket) => socket.resetAndDestroy()),
    lie(false, (socket) => socket.end()),
    lie(true, (socket) => socket.end(`${head('200 OK', 'content-length: 100')}only this`)),
    lie(true, (socket) => socket.end(head('200 OK', 'content-length: 10'))),
    lie(true, (socket) => socket.end(`${head('200 OK', 'transfer-encoding: chunked')}5\r\nhello\r\n`)),
    lie(false, (socket) => socket.end('220 mail.example.com ESMTP\r\n')),
  ],
  'without end': [
    lie(false, () => undefined),
    lie(true, (socket) => {
      socket.write(head('200 OK', 'content-length: 100000'));
      feed(socket, '.', 100);
    }),
  ],
  'strange yes': [
    lie(true, (socket) => {
      socket.write(head('200 OK', 'content-encoding: gzip', 'content-length: 8'));
      socket.write(Buffer.from([0, 0xff, 0xfe, 0xc3, 0x28, 0, 10, 0x80]));
    }),
    lie(true, (socket) => socket.write(`${head('204 No Content', 'content-length: 5')}hello`), 204),
    // The end of the connection is the end of the body (RFC 9112 section 6.3).
    lie(true, (socket) => socket.end(head('200 OK'))),
    lie(true, (socket) => {
      socket.write(head('200 OK', 'transfer-encoding: chunked'));
      feed(socket, `4000\r\n${'x'.repeat(0x4000)}\r\n`, 2);
    }),
    lie(true, (socket) => socket.write(head('200 OK', 'content-length: 0')), 200, true),
    lie(null, (socket) => {
      socket.write(head('200 OK', 'content-length: 0'));
      socket.resetAndDestroy();
    }),
  ],
};
