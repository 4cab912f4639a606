import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const NXDOMAIN = 3;
const TYPE_A = 1;

/** What is known of a name: its IPv4 address, or that it does not exist; or no answer, ever. */
export type Knowledge = `${number}.${number}.${number}.${number}` | 'unknown' | 'silent';

/** A DNS server on a loopback port (RFC 1035 section 4.1); it has no AAAA records. */
export class LoopbackDns {
  /** The names asked for so far, once for each question. */
  readonly asked: string[] = [];

  private constructor(
    private readonly socket: Socket,
    private readonly knowledgeOf: (name: string) => Knowledge,
  ) {
    socket.on('message', (query, { port, address }) => {
      const answer = this.answer(query);
      if (answer) socket.send(answer, port, address);
    });
  }

  static async start(knowledgeOf: (name: string) => Knowledge): Promise<LoopbackDns> {
    const socket = createSocket('udp4');
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return new LoopbackDns(socket, knowledgeOf);
  }

  get server(): string {
    return `127.0.0.1:${this.socket.address().port}`;
  }

  stop(): Promise<void> {
    return new Promise((resolve) => this.socket.close(resolve));
  }

  private answer(query: Buffer): Buffer | undefined {
    const labels: string[] = [];
    let at = 12;
    for (let length = query[at]!; length > 0; length = query[at]!) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length));
      at += 1 + length;
    }
    const isA = query.readUInt16BE(at + 1) === TYPE_A;
    const name = labels.join('.');
    this.asked.push(name);
    const known = this.knowledgeOf(name);
    if (known === 'silent') return undefined;

    const question = Buffer.from(query.subarray(0, at + 5));
    question.writeUInt16BE(0x8180 | (known === 'unknown' ? NXDOMAIN : 0), 2);
    const records = known !== 'unknown' && isA ? [aRecord(known)] : [];
    // One question, the answers, no other sections.
    [1, records.length, 0, 0].forEach((count, index) => question.writeUInt16BE(count, 4 + 2 * index));
    return Buffer.concat([question, ...records]);
  }
}

/** For the name of the question, with a time to live of one minute. */
function aRecord(address: string): Buffer {
  const head = Buffer.from([0xc0, 12, 0, TYPE_A, 0, 1, 0, 0, 0, 60, 0, 4]);
  return Buffer.concat([head, Buffer.from(address.split('.').map(Number))]);
}
