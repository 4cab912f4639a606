import { Injectable, OnApplicationShutdown, OnModuleInit } from '@nestjs/common';
import pg from 'pg';
import { Config } from '../config/config.js';

const CHANNEL = 'posthorn_changes';
const RECONNECT_MS = 500;
/** A connection that is silently dead would keep stale caches alive: it must answer this often. */
const PING_MS = 5_000;

export interface Change {
  table: string;
  tenantId: string;
}

/**
 * Tells in-process caches what changed in any process: triggers on tenant, api_key and subscription notify, this
 * listens on a connection of its own. While it does not listen nothing may be cached, since changes would be missed.
 */
@Injectable()
export class ChangeFeed implements OnModuleInit, OnApplicationShutdown {
  private client: pg.Client | undefined;
  private closed = false;
  private reconnecting: NodeJS.Timeout | undefined;
  private pinging: NodeJS.Timeout | undefined;
  private readonly onChange: ((change: Change) => void)[] = [];
  private readonly onGap: (() => void)[] = [];

  constructor(private readonly config: Config) {}

  get isListening(): boolean {
    return this.client !== undefined;
  }

  /**
   * @param onChange hears of each change that was committed
   * @param onGap hears that changes may have been missed, so everything cached is in doubt
   */
  subscribe(onChange: (change: Change) => void, onGap: () => void): void {
    this.onChange.push(onChange);
    this.onGap.push(onGap);
  }

  async onModuleInit(): Promise<void> {
    await this.connect();
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    clearTimeout(this.reconnecting);
    clearInterval(this.pinging);
    await this.client?.end().catch(() => undefined);
  }

  private async connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.config.databaseUrl,
      application_name: 'posthorn changes',
      connectionTimeoutMillis: 5_000,
      query_timeout: PING_MS,
      keepAlive: true,
    });
    const lost = once(() => this.lost(client));
    client.on('notification', ({ payload }) => {
      const [table = '', tenantId = ''] = payload?.split(':') ?? [];
      for (const listener of this.onChange) listener({ table, tenantId });
    });
    client.on('end', lost);
    client.on('error', lost);
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.client = client;
      this.pinging = setInterval(() => void client.query('select 1').catch(lost), PING_MS);
    } catch {
      lost();
    }
  }

  private lost(client: pg.Client): void {
    clearInterval(this.pinging);
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
