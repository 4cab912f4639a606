import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '../observability/logger.js';
import { ApiKeyRepository } from './repositories/api-key.repository.js';

const WRITE_EVERY_MS = 30_000;

/** When each API key was used last: noted in memory with each request, and written now and then. */
@Injectable()
export class KeyUsage implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private usedAtMs = new Map<string, number>();
  private writing: NodeJS.Timeout | undefined;

  constructor(
    private readonly keys: ApiKeyRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  note(keyId: string): void {
    this.usedAtMs.set(keyId, Date.now());
  }

  onApplicationBootstrap(): void {
    this.writing = setInterval(() => void this.write(), WRITE_EVERY_MS);
  }

  /** While Postgres is still there. */
  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.writing);
    await this.write();
  }

  /** What cannot be written is lost: it would be older than what is noted by the next time. */
  private async write(): Promise<void> {
    if (this.usedAtMs.size === 0) return;
    const used = this.usedAtMs;
    this.usedAtMs = new Map();
    try {
      await this.keys.touch(new Map([...used].map(([id, ms]) => [id, new Date(ms)])));
    } catch (error) {
      this.logger.warn({ err: error }, 'key_usage.unwritten');
    }
  }
}
