import { createServer, Server } from 'node:http';
import { AddressInfo, connect } from 'node:net';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PROBLEMS } from '../../../src/domain/errors.js';
import { isUuid } from '../../../src/domain/uuid-v7.js';
import { answerClientError } from '../../../src/http/client-error.js';

let server: Server;

beforeAll(async () => {
  server = createServer({ requestTimeout: 20, headersTimeout: 20, connectionsCheckingInterval: 10 });
  server.on('clientError', answerClientError);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});
afterAll(() => server.close());

/** Everything that the server says until it ends the connection. */
function answerTo(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    let text = '';
    socket.on('data', (chunk) => (text += chunk.toString()));
    socket.on('error', reject);
    socket.on('close', () => resolve(text));
  });
}

it.each([
  ['something else', 'HELO posthorn\r\n\r\n', 'malformed_request'],
  [
    'two lengths',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n',
    'malformed_request',
  ],
  [
    '17 KiB of headers',
    `GET / HTTP/1.1\r\nhost: a\r\nx: ${'a'.repeat(17 * 1024)}\r\n\r\n`,
    'headers_too_large',
  ],
  ['half a head, and nothing more', 'GET / HTTP/1.1\r\nhost: a\r\n', 'request_timeout'],
  [
    'half a body, and nothing more',
    'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{',
    'request_timeout',
  ],
] as const)('answers %s with a problem', async (_, bytes, code) => {
  const [head = '', body = ''] = (await answerTo(bytes)).split('\r\n\r\n');
  const { status, title } = PROBLEMS[code];
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} \\w`));
  expect(head).toMatch(/\r\ncontent-type: application\/problem\+json(\r\n|$)/);
  const problem = JSON.parse(body) as Record<string, string>;
  expect(problem).toMatchObject({ type: `urn:posthorn:problem:${code}`, title, status, code });
  expect(isUuid(problem['request_id']!)).toBe(true);
  expect(head).toContain(`x-request-id: ${problem['request_id']}`);
});
