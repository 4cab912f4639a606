import { Controller, Get, HttpStatus, Res, ServiceUnavailableException } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { HealthCheckService, HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';
import type { FastifyReply } from 'fastify';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { Readiness } from '../observability/readiness.js';
import { Database } from '../persistence/database.js';
import { ReadDatabase } from '../persistence/read-database.js';
import { HeartbeatRepository } from '../persistence/repositories/heartbeat.repository.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { Public } from './access.js';
import { HealthResponse, ReadinessResponse } from './health.dto.js';
import { ApiProblems } from './openapi/api-problems.js';

const ALIVE_SECONDS = 20;
/** A server that does not answer is down: the answer must come before a probe gives up. */
const CHECK_MS = 2_000;

/**
 * Postgres is the truth: without it the service is down. Without the queue or a worker it is degraded: it still
 * accepts events durably, and delivers them later.
 */
@ApiTags('Operations')
@Public()
@Controller()
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly indicators: HealthIndicatorService,
    private readonly database: Database,
    private readonly readDatabase: ReadDatabase,
    private readonly scheduler: LaneScheduler,
    private readonly heartbeats: HeartbeatRepository,
    private readonly readiness: Readiness,
    private readonly config: Config,
  ) {}

  @Get('health')
  @ApiOperation({
    summary: 'Health of Postgres, Redis (where there is one), the queue and the workers',
    description:
      '503 when PostgreSQL does not answer. `degraded` (200) while events are accepted but deliveries wait.',
  })
  @ApiOkResponse({ type: HealthResponse, description: 'Up or degraded.' })
  @ApiResponse({ status: 503, type: HealthResponse, description: 'Down.' })
  async getHealth(@Res({ passthrough: true }) reply: FastifyReply): Promise<unknown> {
    try {
      return await this.health.check([
        () => this.postgres(),
        ...(this.readDatabase.hasReplica ? [() => this.replica()] : []),
        ...(this.config.redisUrl === null ? [] : [() => this.redis()]),
        () => this.queue(),
        () => this.workers(),
      ]);
    } catch (error) {
      // Terminus throws what it found when something is down: that is the answer, not a problem with the request.
      if (!(error instanceof ServiceUnavailableException)) throw error;
      void reply.status(HttpStatus.SERVICE_UNAVAILABLE);
      return error.getResponse();
    }
  }

  @Get('ready')
  @ApiOperation({
    summary: 'Whether this process may be sent traffic',
    description: '503 until its start-up work is done.',
  })
  @ApiOkResponse({ type: ReadinessResponse })
  @ApiProblems('unavailable')
  async getReadiness(): Promise<ReadinessResponse> {
    const { reasons } = this.readiness;
    if (reasons.length > 0) throw new Problem('unavailable', `Not ready: ${reasons.join(', ')}.`);
    await inTime(this.database.run('select 1'));
    return { status: 'ready' };
  }

  private async postgres(): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check('postgres');
    try {
      await inTime(this.database.run('select 1'));
      return indicator.up();
    } catch (error) {
      return indicator.down(reasonOf(error));
    }
  }

  /** What is read from it is read from the primary meanwhile. */
  private replica(): Promise<HealthIndicatorResult> {
    return this.unlessDegraded('postgres_replica', async () => ({
      lag_seconds: await this.readDatabase.lagSeconds(),
    }));
  }

  private redis(): Promise<HealthIndicatorResult> {
    return this.unlessDegraded('redis', async () => {
      await this.requireScheduler();
      return {};
    });
  }

  private queue(): Promise<HealthIndicatorResult> {
    return this.unlessDegraded('queue', async () => {
      await this.requireScheduler();
      const engine = this.config.redisUrl === null ? 'in-process' : 'bull';
      return { engine, waiting: await this.scheduler.depth() };
    });
  }

  private workers(): Promise<HealthIndicatorResult> {
    return this.unlessDegraded('workers', async () => {
      const alive = await this.heartbeats.countAlive(['worker', 'all'], ALIVE_SECONDS);
      if (alive === 0) throw new Problem('unavailable', 'no worker has been seen for 20 seconds');
      return { alive };
    });
  }

  private async requireScheduler(): Promise<void> {
    if (await this.scheduler.isHealthy()) return;
    throw new Problem('unavailable', 'cannot be reached; deliveries wait');
  }

  private async unlessDegraded(name: string, check: () => Promise<object>): Promise<HealthIndicatorResult> {
    const indicator = this.indicators.check(name);
    try {
      return indicator.up({ ...(await inTime(check())) });
    } catch (error) {
      return indicator.degraded(reasonOf(error));
    }
  }
}

/**
 * Anybody may ask: the texts of drivers and resolvers name hosts, ports and users, so of what is not our own only the
 * code is told, such as ECONNREFUSED or an SQLSTATE.
 */
export function reasonOf(error: unknown): string {
  if (error instanceof Problem) return error.message;
  const { code } = error as { code?: unknown };
  return typeof code === 'string' ? `cannot be reached (${code})` : 'cannot be reached';
}

/** @throws Problem unavailable when it takes longer than a probe may */
async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    const late = new Problem('unavailable', `No answer within ${CHECK_MS / 1_000} seconds.`);
    timer = setTimeout(() => reject(late), CHECK_MS);
  });
  return Promise.race([work, limit]).finally(() => clearTimeout(timer));
}
