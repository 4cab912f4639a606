import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { DeliverySums } from '../domain/delivery-statistics.js';
import { Reads, ReadSide } from '../persistence/read-side.js';
import type { StatisticsOf, StatisticsRow } from '../persistence/repositories/statistics.repository.js';
import {
  LatencyResponse,
  StatisticsPointResponse,
  StatisticsQuery,
  StatisticsResponse,
  SubscriptionStatisticsQuery,
  SubscriptionStatisticsResponse,
} from './statistics.dto.js';
import { Interval, INTERVAL_MS, Range, rangeOf } from './statistics-range.js';

const HOUR_MS = 3_600_000;
const MAX_SUBSCRIPTIONS = 100;

/** What deliveries came to, from what was added up while they were made. */
@Injectable()
export class StatisticsService {
  constructor(
    private readonly reads: ReadSide,
    private readonly config: Config,
  ) {}

  /** @throws Problem invalid_request for a range that is no range, or of too many points */
  async get(tenantId: string, query: StatisticsQuery): Promise<StatisticsResponse> {
    return this.reads.late(({ statistics }) => this.statisticsOf(tenantId, query, statistics));
  }

  private async statisticsOf(
    tenantId: string,
    query: StatisticsQuery,
    statistics: Reads['statistics'],
  ): Promise<StatisticsResponse> {
    const { interval } = query;
    const whose: StatisticsOf = { tenantId, subscriptionId: query.subscription_id?.toLowerCase() ?? null };
    const now = await statistics.now(whose);
    const nowMs = now.at.getTime();
    const range = rangeOf(query, nowMs, nowMs - this.config.retentionHours * HOUR_MS);

    const { rows, dlqSizeBefore } = await statistics.series(
      whose,
      interval === 'minute' ? 'minute' : 'hour',
      // What was noted before a whole hour is in the row of an hour.
      new Date(Math.floor(range.fromMs / HOUR_MS) * HOUR_MS),
      new Date(range.toMs),
    );
    const dlq = { before: dlqSizeBefore ?? 0, now: now.dlqSize };
    const points = seriesOf(rows, { ...range, interval, isOpen: range.toMs > nowMs }, dlq);
    const total = new DeliverySums();
    for (const { sums } of points) {
      total.add(sums);
      total.latency.addAll(sums.latency.counts);
    }
    const seconds = (Math.min(range.toMs, nowMs) - range.fromMs) / 1000;
    return {
      from: new Date(range.fromMs).toISOString(),
      to: new Date(range.toMs).toISOString(),
      interval,
      totals: {
        ...countsOf(total),
        throughput_per_second: seconds > 0 ? total.attempts / seconds : 0,
        latency_ms: LatencyResponse.from(total.latency),
        dlq_size: now.dlqSize,
      },
      series: points.map((point) => pointOf(point)),
    };
  }

  /** @throws Problem invalid_request for a range that is no range, or of too many hours */
  async bySubscription(
    tenantId: string,
    query: SubscriptionStatisticsQuery,
  ): Promise<SubscriptionStatisticsResponse> {
    const range = rangeOf({ ...query, interval: 'hour' }, Date.now(), 0, false);
    const [from, to] = [new Date(range.fromMs), new Date(range.toMs)];
    const rows = await this.reads.late(({ statistics }) =>
      statistics.worst(tenantId, from, to, MAX_SUBSCRIPTIONS),
    );
    return {
      from: from.toISOString(),
      to: to.toISOString(),
      data: rows.map(({ subscription_id, ...counts }) => {
        const sums = new DeliverySums();
        sums.add(counts);
        return { subscription_id, ...countsOf(sums) };
      }),
    };
  }
}

interface Point {
  atMs: number;
  sums: DeliverySums;
  dlqSize: number;
}

interface Steps extends Range {
  interval: Interval;
  /** Whether its last interval is the present one. */
  isOpen: boolean;
}

/** A point for every interval; where no new number of dead letters was noted, it was the one before. */
function seriesOf(
  rows: StatisticsRow[],
  { fromMs, toMs, interval, isOpen }: Steps,
  dlq: { before: number; now: number },
): Point[] {
  const step = INTERVAL_MS[interval];
  const points: Point[] = [];
  for (let atMs = fromMs; atMs < toMs; atMs += step)
    points.push({ atMs, sums: new DeliverySums(), dlqSize: 0 });
  const noted = new Map<number, number>();
  let dlqSize = dlq.before;
  for (const row of rows.toSorted((a, b) => a.at.getTime() - b.at.getTime())) {
    const index = Math.floor((row.at.getTime() - fromMs) / step);
    const point = points[index];
    if (point) {
      point.sums.add(row);
      point.sums.latency.addAll(row.latency);
      for (const [ms, count] of row.durations) point.sums.latency.add(ms, count);
    }
    if (row.dlq_size !== null) {
      if (point) noted.set(index, row.dlq_size);
      else dlqSize = row.dlq_size;
    }
  }
  points.forEach((point, index) => (point.dlqSize = dlqSize = noted.get(index) ?? dlqSize));
  const last = points.at(-1);
  if (last && isOpen) last.dlqSize = dlq.now;
  return points;
}

const pointOf = ({ atMs, sums, dlqSize }: Point): StatisticsPointResponse => ({
  at: new Date(atMs).toISOString(),
  ...countsOf(sums),
  latency_ms: LatencyResponse.from(sums.latency),
  dlq_size: dlqSize,
});

/** A success that came late takes back a failure, which may have been counted before the interval. */
const countsOf = ({ attempts, delivered, failures, retries, dead, successRate }: DeliverySums) => ({
  attempts,
  delivered,
  failures: Math.max(failures, 0),
  retries,
  dead,
  success_rate: successRate === null ? null : Math.min(successRate, 1),
});
