import { Module } from '@nestjs/common';
import { SubscriptionController } from './subscription.controller.js';
import { SubscriptionService } from './subscription.service.js';
import { VerificationService } from './verification.service.js';

/** Who wants which events, and how they are delivered to them. */
@Module({
  controllers: [SubscriptionController],
  providers: [SubscriptionService, VerificationService],
})
export class SubscriptionModule {}
