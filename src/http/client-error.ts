import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { Problem, PROBLEMS } from '../domain/errors.js';
import { uuidV7 } from '../domain/uuid-v7.js';
import { problemBody } from './problem.filter.js';
import { SECURITY_HEADERS } from './security-headers.js';

/** For a client to read the answer and to close its end; some never do, and would keep their places. */
const LINGER_MS = 1_000;

/** A connection of Node's HTTP server; the answer that it is waiting for is Node's own, undocumented member. */
type Connection = Duplex & { _httpMessage?: ServerResponse | null };

/** Answers what Node could not make a request of, on the bare socket, and ends the connection. */
export function answerClientError(error: NodeJS.ErrnoException, connection: Connection): void {
  const due = connection._httpMessage;
  // An earlier request is still to be answered, or being so: its client would take ours for that answer.
  const belongsToAnother = due != null && (due.headersSent || due.req.complete);
  if (!connection.writable || belongsToAnother) connection.destroy();
  else endWithProblem(connection, problemOf(error.code));
}

/** Answers CONNECT, which Node hands over without a response to write to. */
export function answerConnect(request: IncomingMessage, connection: Duplex): void {
  endWithProblem(connection, new Problem('not_found', `There is no route ${request.method}.`));
}

function endWithProblem(connection: Duplex, problem: Problem): void {
  const { status } = PROBLEMS[problem.code];
  const id = uuidV7(Date.now());
  const body = JSON.stringify(problemBody(problem, id));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
    ...Object.entries(SECURITY_HEADERS).map(([name, value]) => `${name}: ${value}`),
  ];
  connection.end(`${head.join('\r\n')}\r\n\r\n${body}`);
  // Who does not close the other half would keep its place for ever.
  setTimeout(() => connection.destroy(), LINGER_MS).unref();
}

function problemOf(code: string | undefined): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('headers_too_large', 'The request line and the headers may have 16 KiB together.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('request_timeout', 'The request took too long to arrive; send it again.');
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new Problem('payload_too_large', 'The extensions of a chunk may have 16 KiB.');
    default:
      return new Problem('malformed_request', 'What was sent is not a request of HTTP/1.1.');
  }
}
