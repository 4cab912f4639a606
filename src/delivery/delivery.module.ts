import { BeforeApplicationShutdown, Module, OnApplicationBootstrap } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import { LOGGER } from '../observability/logger.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { AttemptPipeline } from './attempt/attempt-pipeline.js';
import { AuthoriseStep } from './attempt/authorise.step.js';
import { DecideStep } from './attempt/decide.step.js';
import { PrepareStep } from './attempt/prepare.step.js';
import { RecordStep } from './attempt/record.step.js';
import { SignStep } from './attempt/sign.step.js';
import { ClaimBatches } from './claim-batches.js';
import { CLOCK } from './clock.token.js';
import { DestinationLimits } from './destination-limits.js';
import { HttpSender } from './http-sender.js';
import { LaneRegistry } from './lane-registry.js';
import { LaneRunner } from './lane-runner.js';
import { PayloadLoader } from './payload-loader.js';
import { AdaptiveConcurrencyPolicy } from './policies/adaptive-concurrency.policy.js';
import { DestinationPolicy } from './policies/destination.policy.js';
import { GonePolicy } from './policies/gone.policy.js';
import { LanePolicies } from './policies/lane-policies.js';
import { PausePolicy } from './policies/pause.policy.js';
import { SharedLimitsPolicy } from './policies/shared-limits.policy.js';
import { VerificationPolicy } from './policies/verification.policy.js';
import { ResultWriter } from './result-writer.js';
import { SweepTask } from './sweep.task.js';
import { TargetChallenge } from './target-challenge.js';
import { WorkerCapacity } from './worker-capacity.js';

const ATTEMPT = [AttemptPipeline, PrepareStep, AuthoriseStep, SignStep, DecideStep, RecordStep];

const POLICIES = [
  LanePolicies,
  PausePolicy,
  VerificationPolicy,
  DestinationPolicy,
  SharedLimitsPolicy,
  AdaptiveConcurrencyPolicy,
  GonePolicy,
];

/** Executes deliveries: the worker's part of the engine. */
@Module({
  providers: [
    { provide: CLOCK, useValue: systemClock },
    DestinationLimits,
    {
      provide: HttpSender,
      inject: [Config, DestinationLimits, LOGGER],
      useFactory: (config: Config, limits: DestinationLimits, logger: Logger) =>
        new HttpSender({
          rules: config.addressRules,
          connectTimeoutMs: config.connectTimeoutMs,
          // Lanes bound themselves. Many subscriptions may share an origin, and must not wait for each other there.
          maxConnectionsPerOrigin: config.workerCount,
          limits,
          onRefused: (host, address) => logger.warn({ host, address }, 'target.refused'),
        }),
    },
    ...ATTEMPT,
    ...POLICIES,
    TargetChallenge,
    LaneRegistry,
    LaneRunner,
    WorkerCapacity,
    ClaimBatches,
    PayloadLoader,
    ResultWriter,
  ],
})
export class DeliveryModule implements OnApplicationBootstrap, BeforeApplicationShutdown {
  constructor(
    private readonly scheduler: LaneScheduler,
    private readonly runner: LaneRunner,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    await this.scheduler.serve((lanes) => this.runner.run(lanes));
  }

  /** While Postgres is still there: no new lanes, then what is in flight. */
  async beforeApplicationShutdown(): Promise<void> {
    await Promise.all([this.scheduler.stop(), this.runner.stop()]);
  }
}

/** Finds what is due and has no worker: the scheduler's part of the engine. */
@Module({ providers: [SweepTask] })
export class SweepModule {}
