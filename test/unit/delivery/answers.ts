/**
 * What servers write, and what it means. `then` is the status with the kept body, and after it: `again` if the
 * connection may carry another request, `once` if not, and the note, if there is one; or the code of a failure.
 * `unlike` says why ours differs from what node:http or curl conclude.
 */
export interface Answer {
  name: string;
  raw: string;
  /** The server closes the connection after it; else it stays open, silently. */
  closes?: boolean;
  then: string;
  unlike?: string;
}

const OK = 'HTTP/1.1 200 OK\r\n';
const LENGTH_2 = 'content-length: 2\r\n\r\nok';
const CHUNKED = `${OK}transfer-encoding: chunked\r\n\r\n`;
const WHOLE = `${OK}${LENGTH_2}`;
const INCOMPLETE = 'the answer was not complete:';
const CLOSED = `once, ${INCOMPLETE} the connection was closed`;
const NO_END = `once, ${INCOMPLETE} it had no end`;
const TOO_MANY_CHUNKS = `once, ${INCOMPLETE} more than 4096 chunks`;
const CHUNKS = `once, ${INCOMPLETE} its chunks are invalid`;
const LENGTH = `once, ${INCOMPLETE} its Content-Length is invalid`;

const HEAD_DECIDES = 'the head decides';
const LENIENT = 'the meaning is clear';
const STRICT = 'it is not HTTP/1.x';

const whole = (name: string, raw: string, then: string, unlike?: string): Answer => ({
  name,
  raw,
  then,
  ...(unlike !== undefined && { unlike }),
});
const closed = (name: string, raw: string, then: string, unlike?: string): Answer => ({
  ...whole(name, raw, then, unlike),
  closes: true,
});

export const ANSWERS: Answer[] = [
  // Plain ones.
  whole('a length', WHOLE, '200 "ok" again'),
  whole('no body', `${OK}content-length: 0\r\n\r\n`, '200 "" again'),
  whole('chunks', `${CHUNKED}2\r\nok\r\n0\r\n\r\n`, '200 "ok" again'),
  closed('until the end', `${OK}\r\nok`, '200 "ok" once'),
  closed('until an immediate end', `${OK}\r\n`, '200 "" once'),
  closed('a whole answer, then the end', WHOLE, '200 "ok" again'),
  whole('201', `HTTP/1.1 201 Created\r\n${LENGTH_2}`, '201 "ok" again'),
  whole('202', `HTTP/1.1 202 Accepted\r\n${LENGTH_2}`, '202 "ok" again'),
  whole('301', `HTTP/1.1 301 Moved\r\nlocation: /x\r\n${LENGTH_2}`, '301 "ok" again'),
  whole('404', `HTTP/1.1 404 Not Found\r\n${LENGTH_2}`, '404 "ok" again'),
  whole('410', `HTTP/1.1 410 Gone\r\n${LENGTH_2}`, '410 "ok" again'),
  whole('500', `HTTP/1.1 500 Oh\r\n${LENGTH_2}`, '500 "ok" again'),
  whole('599', `HTTP/1.1 599 Oh\r\n${LENGTH_2}`, '599 "ok" again'),
  whole('600', `HTTP/1.1 600 Oh\r\n${LENGTH_2}`, '600 "ok" again'),
  whole('999', `HTTP/1.1 999 Oh\r\n${LENGTH_2}`, '999 "ok" again'),
  // Informational answers.
  whole('100 first', `HTTP/1.1 100 Continue\r\n\r\n${WHOLE}`, '200 "ok" once'),
  whole('102 first', `HTTP/1.1 102 Processing\r\n\r\n${WHOLE}`, '200 "ok" once'),
  whole('103 first', `HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n${WHOLE}`, '200 "ok" once'),
  whole('199 first', `HTTP/1.1 199 Whatever\r\n\r\n${WHOLE}`, '200 "ok" once'),
  whole('100 with a length', `HTTP/1.1 100 C\r\ncontent-length: 5\r\n\r\n${WHOLE}`, '200 "ok" once'),
  whole('16 of them', 'HTTP/1.1 102 P\r\n\r\n'.repeat(16) + WHOLE, '200 "ok" once'),
  whole('17 of them', 'HTTP/1.1 102 P\r\n\r\n'.repeat(17) + WHOLE, 'protocol', 'their number is bounded'),
  whole('101', 'HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n', 'protocol', STRICT),
  whole('100 alone', 'HTTP/1.1 100 Continue\r\n\r\n', 'timeout'),
  closed('100 and the end', 'HTTP/1.1 100 Continue\r\n\r\n', 'connection_reset'),
  // Without a body, whatever they announce.
  whole('204', 'HTTP/1.1 204 No Content\r\n\r\n', '204 "" again'),
  whole('204, length 0', 'HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n', '204 "" again'),
  whole('204, length 2', 'HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n', '204 "" once'),
  whole('204, length 2, a body', `HTTP/1.1 204 No Content\r\n${LENGTH_2}`, '204 "" once', HEAD_DECIDES),
  whole('204, chunked', 'HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n', '204 "" once'),
  whole('204, no valid length', 'HTTP/1.1 204 No\r\ncontent-length: x\r\n\r\n', '204 "" once', HEAD_DECIDES),
  whole('205, length 0', 'HTTP/1.1 205 Reset\r\ncontent-length: 0\r\n\r\n', '205 "" again'),
  whole('205', 'HTTP/1.1 205 Reset\r\n\r\n', '205 "" once', HEAD_DECIDES),
  whole('205, length 2', 'HTTP/1.1 205 Reset\r\ncontent-length: 2\r\n\r\n', '205 "" once', HEAD_DECIDES),
  whole('205, chunked', 'HTTP/1.1 205 R\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', '205 "" once'),
  whole('304', 'HTTP/1.1 304 Not Modified\r\n\r\n', '304 "" again'),
  whole('304, length 7', 'HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n', '304 "" once'),
  // Not complete.
  whole('no end', `${OK}\r\nok`, `200 "ok" ${NO_END}`, HEAD_DECIDES),
  whole('nothing and no end', `${OK}\r\n`, `200 "" ${NO_END}`, HEAD_DECIDES),
  whole('chunks without an end', `${CHUNKED}2\r\nok\r\n`, `200 "ok" ${NO_END}`, HEAD_DECIDES),
  whole('no trailer end', `${CHUNKED}2\r\nok\r\n0\r\n`, `200 "ok" ${NO_END}`, HEAD_DECIDES),
  whole('shorter, open', `${OK}content-length: 9\r\n\r\nok`, `200 "ok" ${NO_END}`, HEAD_DECIDES),
  closed('shorter, closed', `${OK}content-length: 9\r\n\r\nok`, `200 "ok" ${CLOSED}`, HEAD_DECIDES),
  closed('chunks, closed', `${CHUNKED}2\r\nok\r\n`, `200 "ok" ${CLOSED}`, HEAD_DECIDES),
  closed('a chunk cut', `${CHUNKED}9\r\nok`, `200 "ok" ${CLOSED}`, HEAD_DECIDES),
  closed('a 500 cut', 'HTTP/1.1 500 Oh\r\ncontent-length: 9\r\n\r\nok', `500 "ok" ${CLOSED}`, HEAD_DECIDES),
  whole('chunks: no number', `${CHUNKED}zz\r\nok\r\n`, `200 "" ${CHUNKS}`, HEAD_DECIDES),
  whole('chunks: an empty size', `${CHUNKED}\r\nok\r\n`, `200 "" ${CHUNKS}`, HEAD_DECIDES),
  whole('chunks: negative', `${CHUNKED}-2\r\nok\r\n`, `200 "" ${CHUNKS}`, HEAD_DECIDES),
  whole('chunks: 0x', `${CHUNKED}0x2\r\nok\r\n`, `200 "" ${CHUNKS}`, HEAD_DECIDES),
  whole('chunks: huge', `${CHUNKED}fffffffff\r\nok`, `200 "" ${CHUNKS}`, HEAD_DECIDES),
  whole('chunks: longer than said', `${CHUNKED}2\r\nokay\r\n`, `200 "ok" ${CHUNKS}`, HEAD_DECIDES),
  closed('two lengths', `${OK}content-length: 3\r\n${LENGTH_2}`, `200 "ok" ${LENGTH}`, HEAD_DECIDES),
  closed('a length that is none', `${OK}content-length: x\r\n\r\nok`, `200 "ok" ${LENGTH}`, HEAD_DECIDES),
  closed('a negative length', `${OK}content-length: -2\r\n\r\nok`, `200 "ok" ${LENGTH}`, HEAD_DECIDES),
  closed('a length with +', `${OK}content-length: +2\r\n\r\nok`, `200 "ok" ${LENGTH}`, HEAD_DECIDES),
  closed('a length in hex', `${OK}content-length: 0x2\r\n\r\nok`, `200 "ok" ${LENGTH}`, HEAD_DECIDES),
  closed('an empty length', `${OK}content-length:\r\n\r\nok`, `200 "ok" ${LENGTH}`, HEAD_DECIDES),
  // More than complete.
  whole('too long', `${OK}${LENGTH_2}ay`, '200 "ok" once', HEAD_DECIDES),
  whole('a second answer', WHOLE + WHOLE, '200 "ok" once'),
  whole('a line end after it', `${WHOLE}\r\n`, '200 "ok" once'),
  whole('bytes after chunks', `${CHUNKED}2\r\nok\r\n0\r\n\r\nx`, '200 "ok" once', HEAD_DECIDES),
  whole('bytes after a 204', 'HTTP/1.1 204 No Content\r\n\r\nx', '204 "" once', HEAD_DECIDES),
  // Lengths and codings.
  whole('the same length twice', `${OK}content-length: 2\r\n${LENGTH_2}`, '200 "ok" again', LENIENT),
  whole('the same length in a list', `${OK}content-length: 2, 2\r\n\r\nok`, '200 "ok" again', LENIENT),
  whole('a length with zeros', `${OK}content-length: 002\r\n\r\nok`, '200 "ok" again'),
  whole(
    'a length and chunks',
    `${OK}transfer-encoding: chunked\r\ncontent-length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    '200 "ok" once',
    LENIENT,
  ),
  closed('another coding', `${OK}transfer-encoding: gzip\r\n\r\nok`, '200 "ok" once', HEAD_DECIDES),
  whole(
    'identity, chunked',
    `${OK}transfer-encoding: identity, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    '200 "ok" once',
  ),
  closed(
    'chunked, identity',
    `${OK}transfer-encoding: chunked, identity\r\n\r\nok`,
    '200 "ok" once',
    HEAD_DECIDES,
  ),
  whole(
    'Chunked in capitals',
    `${OK}Transfer-Encoding: CHUNKED\r\n\r\n2\r\nok\r\n0\r\n\r\n`,
    '200 "ok" again',
  ),
  whole(
    '4,097 chunks',
    `${CHUNKED}${'1\r\na\r\n'.repeat(4_097)}0\r\n\r\n`,
    `200 "4096 a" ${TOO_MANY_CHUNKS}`,
    HEAD_DECIDES,
  ),
  whole('a chunk extension', `${CHUNKED}2;a=b\r\nok\r\n0\r\n\r\n`, '200 "ok" again'),
  whole('a space after a size', `${CHUNKED}2 \r\nok\r\n0\r\n\r\n`, '200 "ok" again', LENIENT),
  whole('sizes with zeros', `${CHUNKED}0002\r\nok\r\n000\r\n\r\n`, '200 "ok" again'),
  whole('a trailer', `${CHUNKED}2\r\nok\r\n0\r\nx: y\r\n\r\n`, '200 "ok" again'),
  whole('chunks with bare LF', `${CHUNKED}2\nok\n0\n\n`, '200 "ok" once', LENIENT),
  // The connection.
  whole('close', `${OK}connection: close\r\n${LENGTH_2}`, '200 "ok" once'),
  whole('Close among others', `${OK}connection: foo, Close\r\n${LENGTH_2}`, '200 "ok" once'),
  whole(
    'close, twice said',
    `${OK}connection: keep-alive\r\nconnection: close\r\n${LENGTH_2}`,
    '200 "ok" once',
  ),
  whole('keep-alive for 0 s', `${OK}keep-alive: timeout=0\r\n${LENGTH_2}`, '200 "ok" once'),
  whole('keep-alive for 9 s', `${OK}keep-alive: max=5, timeout=9\r\n${LENGTH_2}`, '200 "ok" again'),
  whole('HTTP/1.0', `HTTP/1.0 200 OK\r\n${LENGTH_2}`, '200 "ok" once'),
  whole('HTTP/1.0, keep-alive', `HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n${LENGTH_2}`, '200 "ok" again'),
  closed('HTTP/1.0 until the end', 'HTTP/1.0 200 OK\r\n\r\nok', '200 "ok" once'),
  // Odd heads.
  whole('no reason phrase', `HTTP/1.1 200\r\n${LENGTH_2}`, '200 "ok" again'),
  whole('an empty reason phrase', `HTTP/1.1 200 \r\n${LENGTH_2}`, '200 "ok" again'),
  whole('a foreign reason phrase', `HTTP/1.1 200 \xd6k\r\n${LENGTH_2}`, '200 "ok" again'),
  whole('two spaces', `HTTP/1.1  200 OK\r\n${LENGTH_2}`, '200 "ok" again', LENIENT),
  whole('a blank line first', `\r\n${WHOLE}`, '200 "ok" once', LENIENT),
  whole('bare LF', 'HTTP/1.1 200 OK\ncontent-length: 2\n\nok', '200 "ok" once', LENIENT),
  whole('bare LF at the end', `${OK}content-length: 2\r\n\nok`, '200 "ok" once', LENIENT),
  whole('a folded line', `${OK}x: a\r\n b\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('a folded first line', `${OK} x: a\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('a line without a colon', `${OK}nonsense\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('a space before the colon', `${OK}content-length : 2\r\n\r\nok`, '200 "ok" once', LENIENT),
  whole('a name of odd characters', `${OK}a(b)@: c\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('no name', `${OK}: c\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('no value', `${OK}x:\r\n${LENGTH_2}`, '200 "ok" again'),
  whole('foreign bytes', `${OK}x: \xe4\xff\r\n${LENGTH_2}`, '200 "ok" again'),
  whole('NUL in a value', `${OK}x: a\0b\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('CR in a value', `${OK}x: a\rb\r\n${LENGTH_2}`, '200 "ok" once', LENIENT),
  whole('__proto__', `${OK}__proto__: a\r\n${LENGTH_2}`, '200 "ok" again'),
  whole(
    'a header of 17 KiB',
    `${OK}x: ${'x'.repeat(17_408)}\r\n${LENGTH_2}`,
    '200 "ok" again',
    'larger heads are read',
  ),
  whole(
    'a head of 64 KiB',
    `${OK}x: ${'x'.repeat(65_480)}\r\n${LENGTH_2}`,
    '200 "ok" again',
    'larger heads are read',
  ),
  whole(
    'a head of 65 KiB',
    `${OK}x: ${'x'.repeat(66_560)}\r\n${LENGTH_2}`,
    'protocol',
    'the head is bounded',
  ),
  whole('1,000 headers', `${OK}${'a: b\r\n'.repeat(1_000)}${LENGTH_2}`, '200 "ok" again'),
  // Too much.
  whole('64 KiB of body', `${OK}content-length: 65536\r\n\r\n${'x'.repeat(65_536)}`, '200 "4096 x" again'),
  whole(
    'a byte more',
    `${OK}content-length: 65537\r\n\r\n${'x'.repeat(65_537)}`,
    `200 "4096 x" once, ${INCOMPLETE} more than 65536 bytes of body`,
  ),
  whole(
    'chunk extensions',
    `${CHUNKED}1;${'x'.repeat(300_000)}\r\n`,
    `200 "" once, ${INCOMPLETE} more than 262144 bytes in all`,
    HEAD_DECIDES,
  ),
  whole(
    'trailers',
    `${CHUNKED}0\r\n${'a: b\r\n'.repeat(50_000)}`,
    `200 "" once, ${INCOMPLETE} more than 262144 bytes in all`,
    HEAD_DECIDES,
  ),
  whole('blank lines', '\r\n'.repeat(40_000), 'protocol'),
  // No HTTP, or not enough of it.
  closed('nothing', '', 'connection_reset'),
  closed('half a status line', 'HTTP/1.1 20', 'connection_reset', STRICT),
  closed('half a head', `${OK}content-le`, 'connection_reset', 'without its end, the head may say anything'),
  closed(
    'a head without its end',
    `${OK}content-length: 0\r\n`,
    'connection_reset',
    'without its end, the head may say anything',
  ),
  whole('nothing, open', '', 'timeout'),
  whole('half a head, open', OK, 'timeout'),
  whole('HTTP/0.9', '<html>ok</html>', 'protocol', STRICT),
  whole('HTTP/2.0', `HTTP/2.0 200 OK\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('HTTP/2', `HTTP/2 200 OK\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('lower case', `http/1.1 200 OK\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('ICY', `ICY 200 OK\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('SSH', 'SSH-2.0-OpenSSH_9.2\r\n', 'protocol'),
  whole('SMTP', '220 mail ESMTP\r\n', 'protocol'),
  whole('TLS', '\x16\x03\x01\x00\x05hello', 'protocol'),
  whole('99', `HTTP/1.1 99 Low\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('000', `HTTP/1.1 000 Zero\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('1000', `HTTP/1.1 1000 High\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('a word for a status', `HTTP/1.1 OK\r\n${LENGTH_2}`, 'protocol', STRICT),
  whole('no space after the status', `HTTP/1.1 200OK\r\n${LENGTH_2}`, 'protocol', STRICT),
];
