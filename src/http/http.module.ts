import { Module } from '@nestjs/common';
import { APP_FILTER, APP_PIPE } from '@nestjs/core';
import { TerminusModule } from '@nestjs/terminus';
import { PrometheusModule } from '@willsoto/nestjs-prometheus';
import { AuthGuard } from './auth.guard.js';
import { CredentialsModule } from './credentials.module.js';
import { EntryController } from './entry.controller.js';
import { HealthController } from './health.controller.js';
import { MetricsController } from './metrics.controller.js';
import { ProblemFilter } from './problem.filter.js';
import { TenantRateLimit } from './rate-limit.js';
import { SourceGuard } from './source.guard.js';
import { SourceVerifier } from './source-verifier.js';
import { validationPipe } from './validation.pipe.js';

/** What every role serves, and what holds for every route of every role: keys, validation, problem answers. */
@Module({
  imports: [
    CredentialsModule,
    TerminusModule.forRoot({ logger: false }),
    PrometheusModule.register({ controller: MetricsController, path: '/metrics' }),
  ],
  controllers: [EntryController, HealthController],
  providers: [
    AuthGuard,
    SourceGuard,
    SourceVerifier,
    TenantRateLimit,
    { provide: APP_FILTER, useClass: ProblemFilter },
    { provide: APP_PIPE, useValue: validationPipe },
  ],
  exports: [SourceGuard, SourceVerifier, TenantRateLimit],
})
export class HttpModule {}
