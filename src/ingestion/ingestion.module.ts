import { Module } from '@nestjs/common';
import { EventIntake } from './event-intake.js';
import { IngestionController } from './ingestion.controller.js';
import { IngestionService } from './ingestion.service.js';

@Module({ controllers: [IngestionController], providers: [IngestionService, EventIntake] })
export class IngestionModule {}
