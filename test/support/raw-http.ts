import { connect, type Socket } from 'node:net';

/** A TCP connection to a server, and what it said so far. */
export interface RawConnection {
  socket: Socket;
  said(): string;
  /** Resolves with everything it said when it has ended the connection. */
  closed: Promise<string>;
}

/** @param text sent at once, byte for byte: what no HTTP client would send */
export function openRaw(url: string, text = ''): RawConnection {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write(text, 'latin1'));
  let said = '';
  socket.setEncoding('latin1').on('data', (chunk: string) => (said += chunk));
  // A reset ends a connection as well.
  socket.on('error', () => socket.destroy());
  const closed = new Promise<string>((resolve) => socket.on('close', () => resolve(said)));
  return { socket, said: () => said, closed };
}

/** Everything that a server says to a text until it ends the connection, which the text has to ask for if need be. */
export const sendRaw = (url: string, text: string): Promise<string> => openRaw(url, text).closed;

/** The answers in what a server said, each with a body of Content-Length. */
export function answersIn(said: string): { status: number; headers: Record<string, string>; body: string }[] {
  const answers = [];
  for (let rest = said; rest !== '';) {
    const end = rest.indexOf('\r\n\r\n');
    const [line = '', ...lines] = rest.slice(0, end).split('\r\n');
    const headers = Object.fromEntries(
      lines.map((header) => [
        header.slice(0, header.indexOf(':')).toLowerCase(),
        header.slice(header.indexOf(':') + 1).trim(),
      ]),
    );
    const bodyEnd = end + 4 + Number(headers['content-length'] ?? 0);
    answers.push({ status: Number(line.split(' ')[1]), headers, body: rest.slice(end + 4, bodyEnd) });
    rest = rest.slice(bodyEnd);
  }
  return answers;
}
