import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const NXDOMAIN = 3;
const TYPE_A = 1;
const TYPE_CNAME = 5;
const TYPE_AAAA = 28;

/** What is known of a name: its address or addresses, or that it does not exist; or no answer, ever. */
export type Knowledge = `${number}.${number}.${number}.${number}` | Records | 'unknown' | 'silent';

export interface Records {
  /** The name that this one is an alias of, which has the addresses. */
  cname?: string;
  /** IPv4 addresses. */
  a?: string[];
  /** IPv6 addresses, all eight groups written out. */
  aaaa?: string[];
}

/** A DNS server on a loopback port (RFC 1035 section 4.1). */
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
    const type = query.readUInt16BE(at + 1);
    const name = labels.join('.');
    this.asked.push(name);
    const known = this.knowledgeOf(name);
    if (known === 'silent') return undefined;

    const question = Buffer.from(query.subarray(0, at + 5));
    question.writeUInt16BE(0x8180 | (known === 'unknown' ? NXDOMAIN : 0), 2);
    const records = known === 'unknown' ? [] : recordsOf(known, type);
    // One question, the answers, no other sections.
    [1, records.length, 0, 0].forEach((count, index) => question.writeUInt16BE(count, 4 + 2 * index));
    return Buffer.concat([question, ...records]);
  }
}

function recordsOf(known: Exclude<Knowledge, 'unknown' | 'silent'>, type: number): Buffer[] {
  const { cname, a = [], aaaa = [] } = typeof known === 'string' ? { a: [known] } : known;
  const alias = cname === undefined ? null : nameOf(cname);
  const addresses = type === TYPE_A ? a.map(ipv4Bytes) : type === TYPE_AAAA ? aaaa.map(ipv6Bytes) : [];
  return [
    ...(alias ? [record(THE_QUESTION, TYPE_CNAME, alias)] : []),
    ...addresses.map((address) => record(alias ?? THE_QUESTION, type, address)),
  ];
}

/** A pointer to the name of the question (RFC 1035 section 4.1.4). */
const THE_QUESTION = Buffer.from([0xc0, 12]);

/** Of the Internet, with a time to live of one minute. */
function record(name: Buffer, type: number, data: Buffer): Buffer {
  return Buffer.concat([name, Buffer.from([0, type, 0, 1, 0, 0, 0, 60, 0, data.length]), data]);
}

function nameOf(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.from(`${String.fromCharCode(label.length)}${label}`));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function ipv6Bytes(address: string): Buffer {
  return Buffer.from(
    address.split(':').flatMap((group) => [Number(`0x${group}`) >> 8, Number(`0x${group}`) & 255]),
  );
}
