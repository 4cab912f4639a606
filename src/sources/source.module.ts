import { Module } from '@nestjs/common';
import { SourceController } from './source.controller.js';
import { SourceService } from './source.service.js';

/** Doors for others' webhooks, and how these are verified. What comes in through them is ingestion's. */
@Module({
  controllers: [SourceController],
  providers: [SourceService],
})
export class SourceModule {}
