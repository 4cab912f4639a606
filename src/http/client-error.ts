import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { Problem, PROBLEMS } from '../domain/errors.js';
import { uuidV7 } from '../domain/uuid-v7.js';
import { problemBody } from './problem.filter.js';

/** Answers what Node could not make a request of, on the bare socket, and ends the connection. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const problem = problemOf(error.code);
  const { status } = PROBLEMS[problem.code];
  const id = uuidV7(Date.now());
  const body = JSON.stringify(problemBody(problem, id));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'connection: close',
    'content-type: application/problem+json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${id}`,
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function problemOf(code: string | undefined): Problem {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new Problem('headers_too_large', 'The request line and the headers may have 16 KiB together.');
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new Problem('request_timeout', 'The request took too long to arrive; send it again.');
    default:
      return new Problem('malformed_request', 'What was sent is not a request of HTTP/1.1.');
  }
}
