import { Injectable } from '@nestjs/common';
import { notFound, Problem } from '../domain/errors.js';
import { DeliveryResponse } from '../http/delivery.dto.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { withPayload } from '../http/raw-json.js';
import { decodeCursor, encodeCursor } from '../persistence/page.js';
import { ReadSide } from '../persistence/read-side.js';
import { DeadLetterBatch, DeadLetterRepository } from '../persistence/repositories/dead-letter.repository.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import {
  DeadLetterChangeDto,
  DeadLetterDetailResponse,
  DeadLetterFilterDto,
  DeadLetterPageResponse,
  DeadLetterQuery,
  DeadLetterResponse,
  MatchedResponse,
} from './dlq.dto.js';

/** What a person does with dead letters: look, retry, discard. */
@Injectable()
export class DlqService {
  constructor(
    private readonly reads: ReadSide,
    private readonly deadLetters: DeadLetterRepository,
    private readonly lanes: LaneScheduler,
  ) {}

  async list(tenantId: string, query: DeadLetterQuery): Promise<DeadLetterPageResponse> {
    const filter = DeadLetterFilterDto.toFilter(query);
    const page = await this.reads.late(({ deadLetters }) =>
      deadLetters.list(tenantId, PageQuery.toRequest(query), filter),
    );
    return pageResponse(page, (row) => DeadLetterResponse.from(row));
  }

  /**
   * @returns JSON text: a {@link DeadLetterDetailResponse}
   * @throws Problem not_found
   */
  async get(tenantId: string, id: string): Promise<Buffer> {
    const found = await this.reads.find(async ({ deadLetters, deliveries, events }) => {
      const row = await deadLetters.find(tenantId, id);
      if (!row) return undefined;
      const payload = await events.payload(tenantId, row.event_id);
      return payload && { row, attempts: await deliveries.attempts(tenantId, id), payload };
    });
    if (!found) throw notFound('dead letter', id);
    const { row, attempts, payload } = found;
    return withPayload(DeadLetterDetailResponse.withAttempts(row, attempts, payload.contentType), payload);
  }

  /** @throws Problem not_found, or conflict when its subscription is gone */
  async retry(tenantId: string, id: string): Promise<DeliveryResponse> {
    const row = await this.deadLetters.reopen(tenantId, id);
    if (!row) throw await this.whyNotReopened(tenantId, id);
    await this.lanes.wake([row.subscription_id]);
    return DeliveryResponse.from(row);
  }

  /** @throws Problem not_found */
  async discard(tenantId: string, id: string): Promise<void> {
    if (!(await this.deadLetters.discard(tenantId, id))) throw notFound('dead letter', id);
  }

  /** Retries all that match and have a subscription. Every batch is a commit: what was done before a failure stays. */
  retryMatching(tenantId: string, dto: DeadLetterChangeDto): Promise<MatchedResponse> {
    const filter = DeadLetterFilterDto.toFilter(dto);
    return changeAll(dto.cursor, async (after) => {
      const batch = await this.deadLetters.reopenBatch(tenantId, filter, after);
      await this.lanes.wake(batch.subscriptionIds);
      return batch;
    });
  }

  /** Discards all that match, in batches as well. */
  discardMatching(tenantId: string, dto: DeadLetterChangeDto): Promise<MatchedResponse> {
    const filter = DeadLetterFilterDto.toFilter(dto);
    return changeAll(dto.cursor, (after) => this.deadLetters.discardBatch(tenantId, filter, after));
  }

  private async whyNotReopened(tenantId: string, id: string): Promise<Problem> {
    if (!(await this.deadLetters.find(tenantId, id))) return notFound('dead letter', id);
    return new Problem(
      'conflict',
      'The subscription of this dead letter was deleted, so there is no target to send it to.',
    );
  }
}

/** No further batch is begun after this time: others wait for their turn, and clients for an answer. */
const CHANGE_MS = 10_000;

async function changeAll(
  cursor: string | undefined,
  changeBatch: (after: string | null) => Promise<DeadLetterBatch>,
): Promise<MatchedResponse> {
  const endsAt = performance.now() + CHANGE_MS;
  let matched = 0;
  let after = decodeCursor(cursor);
  do {
    const batch: DeadLetterBatch = await changeBatch(after);
    matched += batch.changed;
    after = batch.next;
  } while (after !== null && performance.now() < endsAt);
  return { matched, next_cursor: after === null ? null : encodeCursor(after) };
}
