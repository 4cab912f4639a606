import {
  BeforeApplicationShutdown,
  Inject,
  Injectable,
  OnApplicationBootstrap,
  OnModuleDestroy,
} from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { HeartbeatRepository } from '../persistence/repositories/heartbeat.repository.js';
import { LOGGER } from './logger.js';
import { Readiness } from './readiness.js';

const BEAT_MS = 5_000;

/** Tells the other processes every five seconds that this one is alive. */
@Injectable()
export class HeartbeatService implements OnApplicationBootstrap, BeforeApplicationShutdown, OnModuleDestroy {
  private readonly processId = randomUUID();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly heartbeats: HeartbeatRepository,
    private readonly readiness: Readiness,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.readiness.waitFor('first heartbeat', () => this.beat());
    this.timer = setInterval(() => {
      this.beat().catch((error: unknown) => this.logger.warn({ err: error }, 'heartbeat.failed'));
    }, BEAT_MS);
  }

  /** Before anything waits for what is in flight: load balancers should send traffic elsewhere by then. */
  onModuleDestroy(): void {
    this.readiness.stop();
  }

  async beforeApplicationShutdown(): Promise<void> {
    clearInterval(this.timer);
    await this.heartbeats.remove(this.processId).catch(() => undefined);
  }

  private beat(): Promise<void> {
    return this.heartbeats.beat(this.processId, this.config.role, hostname());
  }
}
