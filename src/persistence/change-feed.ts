import { Injectable, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { Config } from '../config/config.js';
import { withPatience } from '../domain/with-patience.js';

const CHANNEL = 'posthorn_changes';
const RECONNECT_MS = 500;
const CONNECT_TIMEOUT_MS = 5_000;
/**
 * A connection that is silently dead would keep stale caches alive, so it is asked this long after each answer, and is
 * lost without the next one in time. Together they stay below the second in which a change is heard of everywhere.
 */
const PING_MS = 300;
const PING_PATIENCE_MS = 500;
/** A process that was held up may serve a request before it reads the changes that came meanwhile. */
const MAX_SILENCE_MS = 1_000;

export interface Change {
  table: string;
  tenantId: string;
}

/**
 * Tells in-process caches what changed in any process: triggers on tenant, api_key, subscription and source notify, this
 * listens on a connection of its own. While it does not listen nothing may be cached, since changes would be missed.
 */
@Injectable()
export class ChangeFeed implements OnModuleInit, OnApplicationShutdown {
  private client: pg.Client | undefined;
  /** When the connection last answered, on the monotonic clock. What was committed before has been heard of. */
  private heardAt = 0;
  private closed = false;
  private reconnecting: NodeJS.Timeout | undefined;
  private readonly onChange: ((change: Change) => void)[] = [];
  private readonly onGap: (() => void)[] = [];

  constructor(private readonly config: Config) {}

  /** Whether every change is known that is older than a second. */
  get isListening(): boolean {
    return this.client !== undefined && performance.now() - this.heardAt < MAX_SILENCE_MS;
  }

  /**
   * @param onChange hears of each change that was committed
   * @param onGap hears that changes may have been missed, so everything cached is in doubt
   */
  subscribe(onChange: (change: Change) => void, onGap: () => void): void {
    this.onChange.push(onChange);
    this.onGap.push(onGap);
  }

  /** Tells the caches of this process at once what it changed; the others hear of it from the database. */
  announce(change: Change): void {
    for (const listener of this.onChange) listener(change);
  }

  async onModuleInit(): Promise<void> {
    await this.connect();
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    clearTimeout(this.reconnecting);
    await this.client?.end().catch(() => undefined);
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.config.databaseUrl,
      application_name: 'posthorn changes',
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      keepAlive: true,
    });
    const lost = once(() => this.lost(client));
    client.on('notification', ({ payload }) => {
      const [table = '', tenantId = ''] = payload?.split(':') ?? [];
      this.announce({ table, tenantId });
    });
    client.on('end', lost);
    client.on('error', lost);
    try {
      await client.connect();
      await withPatience(client.query(`listen ${CHANNEL}`), CONNECT_TIMEOUT_MS, 'PostgreSQL');
      this.client = client;
      this.heardAt = performance.now();
      void this.watch(client).catch(lost);
    } catch {
      lost();
    }
  }

  /** @throws Error when the connection is dead, be it silently */
  private async watch(client: pg.Client): Promise<void> {
    while (this.client === client) {
      await pause(PING_MS, undefined, { ref: false });
      await withPatience(client.query('select 1'), PING_PATIENCE_MS, 'PostgreSQL');
      this.heardAt = performance.now();
    }
  }

  private lost(client: pg.Client): void {
    void client.end().catch(() => undefined);
    this.client = undefined;
    for (const listener of this.onGap) listener();
    if (this.closed) return;
    clearTimeout(this.reconnecting);
    this.reconnecting = setTimeout(() => void this.connect(), RECONNECT_MS);
  }
}

/** A connection that breaks says so in several ways, and counts once. */
function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    work();
  };
}
