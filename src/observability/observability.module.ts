import { DynamicModule, Module } from '@nestjs/common';
import type { Logger } from 'pino';
import { register } from 'prom-client';
import { DEPTH_PROVIDERS } from './depth-gauges.js';
import { HeartbeatService } from './heartbeat.service.js';
import { LOGGER } from './logger.js';
import { MetricsPage } from './metrics-page.js';
import { Metrics, METRIC_PROVIDERS } from './metrics.js';
import { Readiness } from './readiness.js';

/** Logs, metrics and signs of life, for every role. */
@Module({})
export class ObservabilityModule {
  static with(logger: Logger): DynamicModule {
    return {
      module: ObservabilityModule,
      global: true,
      providers: [
        { provide: LOGGER, useValue: logger },
        ...METRIC_PROVIDERS,
        ...DEPTH_PROVIDERS,
        Metrics,
        { provide: MetricsPage, useFactory: () => new MetricsPage(register) },
        Readiness,
        HeartbeatService,
      ],
      exports: [LOGGER, Metrics, MetricsPage, Readiness],
    };
  }
}
