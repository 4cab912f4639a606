import { DynamicModule, Module } from '@nestjs/common';
import { RedisModule } from '../queue/queue.module.js';
import { InProcessRateLimiter } from './in-process-rate-limiter.js';
import { RateLimiter } from './rate-limiter.js';
import { RedisRateLimiter } from './redis-rate-limiter.js';

/** Provides {@link RateLimiter} to every module. */
@Module({})
export class LimitsModule {
  /** For a single process without Redis. */
  static inProcess(): DynamicModule {
    return {
      module: LimitsModule,
      global: true,
      providers: [{ provide: RateLimiter, useClass: InProcessRateLimiter }],
      exports: [RateLimiter],
    };
  }

  /** For any number of processes that meet in Redis. */
  static redis(): DynamicModule {
    return {
      module: LimitsModule,
      global: true,
      imports: [RedisModule],
      providers: [{ provide: RateLimiter, useClass: RedisRateLimiter }],
      exports: [RateLimiter],
    };
  }
}
