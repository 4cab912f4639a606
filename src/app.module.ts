import { DynamicModule, Module, Type } from '@nestjs/common';
import type { Logger } from 'pino';
import { AuditModule } from './audit/audit.module.js';
import { CleanupModule } from './cleanup/cleanup.module.js';
import { Config, Role } from './config/config.js';
import { ConfigModule } from './config/config.module.js';
import { DeliveryModule, SweepModule } from './delivery/delivery.module.js';
import { DlqModule } from './dlq/dlq.module.js';
import { HttpModule } from './http/http.module.js';
import { IngestionModule } from './ingestion/ingestion.module.js';
import { LimitsModule } from './limits/limits.module.js';
import { ObservabilityModule } from './observability/observability.module.js';
import { PersistenceModule } from './persistence/persistence.module.js';
import { QueueModule } from './queue/queue.module.js';
import { ScheduleModule } from './schedule/schedule.module.js';
import { StatisticsModule, StatisticsFoldModule } from './statistics/statistics.module.js';
import { SourceModule } from './sources/source.module.js';
import { StatusModule } from './status/status.module.js';
import { SubscriptionModule } from './subscriptions/subscription.module.js';
import { TenantModule } from './tenants/tenant.module.js';

const API = [
  TenantModule,
  SubscriptionModule,
  SourceModule,
  IngestionModule,
  StatusModule,
  DlqModule,
  StatisticsModule,
  AuditModule,
];
const WORKER = [DeliveryModule];
const SCHEDULER = [SweepModule, StatisticsFoldModule, CleanupModule];

/** Which role runs which features. A new feature is a module and its name here. */
const FEATURES: Record<Role, Type[]> = {
  api: API,
  worker: WORKER,
  scheduler: SCHEDULER,
  all: [...API, ...WORKER, ...SCHEDULER],
};

@Module({})
export class AppModule {
  static forRole(config: Config, logger: Logger): DynamicModule {
    const features = FEATURES[config.role];
    return {
      module: AppModule,
      imports: [
        ConfigModule.with(config),
        ObservabilityModule.with(logger),
        PersistenceModule,
        config.redisUrl === null ? QueueModule.inProcess() : QueueModule.bull(config),
        config.redisUrl === null ? LimitsModule.inProcess() : LimitsModule.redis(),
        ScheduleModule,
        HttpModule,
        ...features,
      ],
    };
  }
}
