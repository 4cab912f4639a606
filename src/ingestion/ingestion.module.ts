import { Module } from '@nestjs/common';
import { HttpModule } from '../http/http.module.js';
import { EventIntake } from './event-intake.js';
import { IngestionController } from './ingestion.controller.js';
import { IngestionService } from './ingestion.service.js';

@Module({
  imports: [HttpModule],
  controllers: [IngestionController],
  providers: [IngestionService, EventIntake],
})
export class IngestionModule {}
