import { STATUS_CODES, type ServerResponse } from 'node:http';
import { Readable, pipeline } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';

/** One way to end a request, well or badly. */
export interface Answer {
  /** The HTTP status that is sent; null if none ever is. */
  readonly status: number | null;
  send(response: ServerResponse): void;
}

const MEBIBYTE = Buffer.alloc(1024 * 1024, 'x');

/** A complete, correct answer. */
export function plain(
  status: number,
  headers: Record<string, string> = {},
  body: string | Buffer = `${status} ${STATUS_CODES[status] ?? ''}\n`,
): Answer {
  const bodiless = status === 204 || status === 304;
  const head = {
    ...(bodiless
      ? {}
      : { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(body) }),
    ...headers,
  };
  return {
    status,
    send(response) {
      response.writeHead(status, head);
      if (bodiless) response.end();
      else response.end(body);
    },
  };
}

/** The connection stays open and nothing is ever said. */
export const silence: Answer = {
  status: null,
  send() {
    // Nothing, on purpose.
  },
};

/** The connection is reset (RST) before a byte of an answer. */
export const reset: Answer = {
  status: null,
  send(response) {
    response.socket?.resetAndDestroy();
  },
};

/** 1,000 bytes are promised; the connection ends after a few. */
export const truncated: Answer = {
  status: 200,
  send(response) {
    response.writeHead(200, { 'content-length': 1000 });
    response.write('the first half of', () => response.socket?.destroy());
  },
};

/** content-length says 2; more follows, which a careless client takes for the next answer. */
export const understated: Answer = {
  status: 200,
  send(response) {
    response.writeHead(200, { 'content-length': 2 });
    response.end('ok, and bytes beyond the announced length');
  },
};

/** Bytes that are not HTTP at all. */
export const garbage: Answer = {
  status: null,
  send(response) {
    response.socket?.end('\u0000\u0001this is not HTTP\r\n\r\n');
  },
};

/** A header that grows by a byte every `intervalMs` and never ends: only a total time-out helps. */
export function slowHeaders(intervalMs: number): Answer {
  return {
    status: null,
    send({ socket }) {
      if (!socket) return;
      socket.write('HTTP/1.1 200 OK\r\nx-slow: ');
      const drip = setInterval(() => socket.write('z'), intervalMs).unref();
      socket.once('close', () => clearInterval(drip));
    },
  };
}

/** 200 with a body of `mebibytes`, announced by its content-length. */
export function huge(mebibytes: number): Answer {
  return streamed({ 'content-length': String(mebibytes * MEBIBYTE.length) }, function* () {
    for (let sent = 0; sent < mebibytes; sent++) yield MEBIBYTE;
  });
}

/** 200 with a body that goes on as fast as it is read. */
export const endless: Answer = streamed({}, function* () {
  for (;;) yield MEBIBYTE;
});

/** 200 with a body of a byte every `intervalMs`: an idle time-out never fires. */
export function drip(intervalMs: number): Answer {
  return streamed({}, async function* () {
    for (;;) {
      yield 'z';
      await pause(intervalMs, undefined, { ref: false });
    }
  });
}

function streamed(
  headers: Record<string, string>,
  chunks: () => Iterable<Buffer> | AsyncIterable<string>,
): Answer {
  return {
    status: 200,
    send(response) {
      response.writeHead(200, headers);
      pipeline(Readable.from(chunks()), response, () => {
        // Either everything was sent or the reader left: both are fine here.
      });
    },
  };
}
