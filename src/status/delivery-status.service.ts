import { Injectable } from '@nestjs/common';
import { notFound, Problem } from '../domain/errors.js';
import {
  DeliveryPageResponse,
  DeliveryResponse,
  DeliveryWithAttemptsResponse,
} from '../http/delivery.dto.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { ReadSide } from '../persistence/read-side.js';
import { DeliveryRepository, DeliveryRow } from '../persistence/repositories/delivery.repository.js';
import { SubscriptionRepository } from '../persistence/repositories/subscription.repository.js';
import type { DeliveryFilter } from '../persistence/search/delivery-filter.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { DeliveryQuery } from './status.dto.js';

/** What became of deliveries, and a person's say in it. Methods that take an id throw Problem not_found. */
@Injectable()
export class DeliveryStatusService {
  constructor(
    private readonly reads: ReadSide,
    private readonly deliveries: DeliveryRepository,
    private readonly subscriptions: SubscriptionRepository,
    private readonly lanes: LaneScheduler,
  ) {}

  /** Newest first. */
  list(tenantId: string, query: DeliveryQuery): Promise<DeliveryPageResponse> {
    return this.page(tenantId, query, DeliveryQuery.toFilter(query));
  }

  async listOfSubscription(
    tenantId: string,
    subscriptionId: string,
    query: PageQuery,
  ): Promise<DeliveryPageResponse> {
    if (!(await this.reads.settings.subscriptions.find(tenantId, subscriptionId)))
      throw notFound('subscription', subscriptionId);
    return this.page(tenantId, query, { subscriptionId });
  }

  async get(tenantId: string, id: string): Promise<DeliveryWithAttemptsResponse> {
    const found = await this.reads.find(async ({ deliveries }) => {
      const row = await deliveries.find(tenantId, id);
      return row && { row, attempts: await deliveries.attempts(tenantId, id) };
    });
    if (!found) throw notFound('delivery', id);
    return DeliveryWithAttemptsResponse.withAttempts(found.row, found.attempts);
  }

  /** @throws Problem conflict while it is being attempted, or when its subscription is gone */
  async retry(tenantId: string, id: string): Promise<DeliveryResponse> {
    const row = await this.deliveries.reopen(tenantId, id);
    if (!row) throw await this.whyNotReopened(tenantId, id);
    await this.lanes.wake([row.subscription_id]);
    return DeliveryResponse.from(row);
  }

  /** @throws Problem conflict when it has ended already */
  async cancel(tenantId: string, id: string): Promise<DeliveryResponse> {
    const row = await this.deliveries.cancel(tenantId, id);
    if (row) return DeliveryResponse.from(row);
    const { status } = await this.find(tenantId, id);
    throw new Problem('conflict', `This delivery has ended already: it is ${status}.`);
  }

  private async page(
    tenantId: string,
    query: PageQuery,
    filter: DeliveryFilter,
  ): Promise<DeliveryPageResponse> {
    const page = await this.reads.late(({ deliveries }) =>
      deliveries.list(tenantId, PageQuery.toRequest(query), filter),
    );
    return pageResponse(page, (row) => DeliveryResponse.from(row));
  }

  private async find(tenantId: string, id: string): Promise<DeliveryRow> {
    const row = await this.deliveries.find(tenantId, id);
    if (!row) throw notFound('delivery', id);
    return row;
  }

  private async whyNotReopened(tenantId: string, id: string): Promise<Problem> {
    const { subscription_id: subscriptionId } = await this.find(tenantId, id);
    return (await this.subscriptions.find(tenantId, subscriptionId))
      ? new Problem('conflict', 'This delivery is being attempted right now. Wait for the result.')
      : new Problem(
          'conflict',
          'The subscription of this delivery was deleted, so there is no target to send it to.',
        );
  }
}
