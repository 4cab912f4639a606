import { connect, createServer, Socket } from 'node:net';
import type { AddressInfo } from 'node:net';

export interface TcpProxy {
  /** The URL given, with the proxy's address in it. */
  url: string;
  /** Breaks every connection and refuses new ones. */
  cut(): Promise<void>;
  /** Keeps every connection open, new ones too, but nothing flows, and nobody hears of a close. */
  freeze(): void;
  /** Bytes that have come since it was frozen, from both sides. */
  heldBytes(): number;
  /** From now on every piece of data takes so much longer, each way. */
  delay(ms: number): void;
  /**
   * Leaves the connections of now to die: nothing of them passes any more, ever, and the client never hears of it. New
   * connections work.
   *
   * @param serverHears whether the server's end is closed (the server restarted, a firewall forgot), or stays open as
   *   well (the client's machine lost its power)
   */
  abandon(serverHears: boolean): void;
  /** Lets connections, and what they carry, through again, without delay. */
  mend(): void;
  close(): Promise<void>;
}

/** Stands between a client and the server of a URL, to break what lies between them. */
export async function startTcpProxy(url: string): Promise<TcpProxy> {
  const target = new URL(url);
  const weather: Weather = { isFrozen: false, heldBytes: 0, delayMs: 0 };
  const pairs = new Set<Pair>();
  const abandoned = new Set<Pair>();
  let isCut = false;
  const server = createServer({ allowHalfOpen: true }, (client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const upstream = connect({ port: Number(target.port), host: target.hostname, allowHalfOpen: true });
    const pair = new Pair(client, upstream, weather, () => pairs.delete(pair));
    pairs.add(pair);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const proxied = new URL(url);
  proxied.hostname = '127.0.0.1';
  proxied.port = String((server.address() as AddressInfo).port);
  const cut = () => {
    isCut = true;
    for (const pair of pairs) pair.destroy();
    return Promise.resolve();
  };
  return {
    url: proxied.href,
    cut,
    freeze: () => {
      weather.isFrozen = true;
      weather.heldBytes = 0;
    },
    heldBytes: () => weather.heldBytes,
    delay: (ms) => {
      weather.delayMs = ms;
    },
    abandon: (serverHears) => {
      for (const pair of pairs) {
        pair.abandon(serverHears);
        abandoned.add(pair);
      }
      pairs.clear();
    },
    mend: () => {
      isCut = weather.isFrozen = false;
      weather.delayMs = 0;
      for (const pair of pairs) pair.flow();
    },
    close: async () => {
      await cut();
      for (const pair of abandoned) pair.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

interface Weather {
  isFrozen: boolean;
  heldBytes: number;
  delayMs: number;
}

/** One connection through the proxy. */
class Pair {
  private readonly there: Direction;
  private readonly back: Direction;

  constructor(
    private readonly client: Socket,
    private readonly upstream: Socket,
    weather: Weather,
    onClosed: () => void,
  ) {
    this.there = new Direction(client, upstream, weather);
    this.back = new Direction(upstream, client, weather);
    for (const socket of [client, upstream]) {
      socket.on('close', () => client.closed && upstream.closed && onClosed());
    }
  }

  flow(): void {
    this.there.flow();
    this.back.flow();
  }

  abandon(serverHears: boolean): void {
    this.there.stop();
    this.back.stop();
    if (serverHears) this.upstream.destroy();
  }

  destroy(): void {
    this.there.stop();
    this.back.stop();
    this.client.destroy();
    this.upstream.destroy();
  }
}

/** What one end says to the other, in order; its last word is that it closed. */
class Direction {
  private readonly waiting: { at: number; pass: () => void }[] = [];
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly weather: Weather,
  ) {
    from.on('data', (chunk: Buffer) => {
      if (weather.isFrozen) weather.heldBytes += chunk.length;
      this.add(() => this.write(chunk));
    });
    from.on('end', () => this.add(() => to.end()));
    from.on('error', () => this.add(() => to.resetAndDestroy()));
    from.on('close', () => this.add(() => to.destroy()));
    to.on('drain', () => from.resume());
  }

  /** Passes on what has waited for its time. */
  flow(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    while (!this.isStopped && !this.weather.isFrozen && this.waiting[0]) {
      const leftMs = this.waiting[0].at - performance.now();
      if (leftMs > 0 && this.weather.delayMs > 0) {
        this.timer = setTimeout(() => this.flow(), leftMs);
        return;
      }
      this.waiting.shift()?.pass();
    }
  }

  /** Nothing passes any more. */
  stop(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
    this.waiting.length = 0;
  }

  private add(pass: () => void): void {
    if (this.isStopped) return;
    this.waiting.push({ at: performance.now() + this.weather.delayMs, pass });
    if (this.timer === undefined) this.flow();
  }

  private write(chunk: Buffer): void {
    if (!this.to.destroyed && !this.to.writableEnded && !this.to.write(chunk)) this.from.pause();
  }
}
