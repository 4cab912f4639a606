import type { Socket } from 'node:net';
import { gzipSync } from 'node:zlib';

/** Sends the bytes again and again for as long as the connection is there, as fast as the process may. */
export type Flood = (piece: string | Buffer) => void;
/** What a subscriber does with a connection that has just been made. */
export type Behaviour = (socket: Socket, flood: Flood) => void;

const BULK = 16 * 1024;
const LATE_MS = 300;
const many = (text: string): string => text.repeat(Math.ceil(BULK / text.length));
/** A TLS record of the type 22 (handshake). */
const record = (content: Buffer): Buffer =>
  Buffer.concat([Buffer.from([22, 3, 3, content.length >> 8, content.length & 0xff]), content]);

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;
const LONG = `${OK}content-length: 1000000000\r\n\r\n`;
const WHOLE = `${OK}content-length: 2\r\n\r\nok`;
const BOMB = gzipSync(Buffer.alloc(64 * 1024 * 1024));
const BOMB_HEAD = `${OK}content-encoding: gzip\r\ncontent-length: ${BOMB.length}\r\n\r\n`;

/** Waits for a request, or for what a TLS client says first. */
function asked(answer: Behaviour): Behaviour {
  return (socket, flood) => void socket.once('data', () => answer(socket, flood));
}

/** Answers with the first part, and goes on with the other one without an end. */
const endless = (first: string, piece: string | Buffer): Behaviour =>
  asked((socket, flood) => {
    if (first !== '') socket.write(first);
    flood(piece);
  });

/** Subscribers that do harm over HTTP. Another one is a line here, and takes part in the test and the long run. */
export const HTTP_BEHAVIOURS: Record<string, Behaviour> = {
  'endless informational answers': endless('', many('HTTP/1.1 102 Processing\r\n\r\n')),
  'informational answers one by one': endless('', 'HTTP/1.1 100 Continue\r\n\r\n'),
  'endless blank lines': endless('', many('\r\n')),
  'an endless status line': endless(OK.trim(), many('k')),
  'endless headers': endless(OK, many('x-more: yes\r\n')),
  'a header byte by byte': endless(`${OK}x-long: `, 'x'),
  'endless chunk extensions': endless(`${CHUNKED}1`, many(';name=value')),
  'chunks of one byte': endless(CHUNKED, many('1\r\nx\r\n')),
  'chunks of one byte, one by one': endless(CHUNKED, '1\r\nx\r\n'),
  'endless trailers': endless(`${CHUNKED}0\r\n`, many('x-trailer: yes\r\n')),
  'an endless body': endless(LONG, many('x')),
  'a body byte by byte': endless(LONG, 'x'),
  'no answer': () => undefined,
  'a close at once': (socket) => void socket.destroy(),
  'a close instead of an answer': asked((socket) => void socket.destroy()),
  'an answer before the request': (socket) => void socket.write(WHOLE),
  'a second answer late': asked((socket) => {
    socket.write(WHOLE);
    setTimeout(() => socket.write(WHOLE), LATE_MS);
  }),
  'a gzip bomb': asked((socket) => {
    socket.write(BOMB_HEAD);
    socket.write(BOMB);
  }),
  garbage: endless('', Buffer.alloc(BULK, 0x99)),
};

/** The same for targets of https. */
export const TLS_BEHAVIOURS: Record<string, Behaviour> = {
  'TLS: nothing': () => undefined,
  'TLS: garbage': endless('', Buffer.alloc(BULK, 0x99)),
  'TLS: an answer without TLS': asked((socket) => void socket.write(WHOLE)),
  // HelloRequest, which a client passes over while a handshake is under way (RFC 5246 section 7.4.1.1).
  'TLS: endless handshake messages': endless('', record(Buffer.alloc(BULK))),
  'TLS: handshake messages one by one': endless('', record(Buffer.alloc(4))),
};
