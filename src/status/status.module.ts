import { Module } from '@nestjs/common';
import { DeliveryStatusController } from './delivery-status.controller.js';
import { DeliveryStatusService } from './delivery-status.service.js';
import { EventStatusController } from './event-status.controller.js';
import { EventStatusService } from './event-status.service.js';

/** The read side: events, deliveries and attempts, and a person's retry and cancel. */
@Module({
  controllers: [EventStatusController, DeliveryStatusController],
  providers: [EventStatusService, DeliveryStatusService],
})
export class StatusModule {}
