import { Module } from '@nestjs/common';
import { DeliveryStatusController } from './delivery-status.controller.js';
import { DeliveryStatusService } from './delivery-status.service.js';
import { EventStatusController } from './event-status.controller.js';
import { EventStatusService } from './event-status.service.js';
import { SearchController } from './search.controller.js';
import { SearchService } from './search.service.js';

/** The read side: events, deliveries and attempts, the search, and a person's retry and cancel. */
@Module({
  controllers: [EventStatusController, DeliveryStatusController, SearchController],
  providers: [EventStatusService, DeliveryStatusService, SearchService],
})
export class StatusModule {}
