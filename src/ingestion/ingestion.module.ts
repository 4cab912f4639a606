import { Module } from '@nestjs/common';
import { HttpModule } from '../http/http.module.js';
import { EventIntake } from './event-intake.js';
import { IngestionController } from './ingestion.controller.js';
import { IngestionService } from './ingestion.service.js';
import { ReceiveController } from './receive.controller.js';
import { ReceiveService } from './receive.service.js';

@Module({
  imports: [HttpModule],
  controllers: [IngestionController, ReceiveController],
  providers: [IngestionService, ReceiveService, EventIntake],
})
export class IngestionModule {}
