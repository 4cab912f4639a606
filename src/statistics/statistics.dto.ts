import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { IsUUID } from 'class-validator';
import type { LatencyHistogram } from '../domain/latency-buckets.js';
import { IsTime } from '../http/is-time.js';
import { MayBeLeftOut } from '../http/may-be-left-out.js';
import { OneOf } from '../http/one-of.js';
import { type Interval, INTERVALS } from './statistics-range.js';

export class SubscriptionStatisticsQuery {
  @ApiPropertyOptional({
    format: 'date-time',
    description: 'The beginning, down to a whole interval; a day before `to` unless given.',
    example: '2026-01-30T12:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  from?: string;

  @ApiPropertyOptional({
    format: 'date-time',
    description: 'The end, up to a whole interval; now unless given, or later.',
    example: '2026-01-31T12:00:00Z',
  })
  @MayBeLeftOut()
  @IsTime()
  to?: string;
}

export class StatisticsQuery extends SubscriptionStatisticsQuery {
  @ApiPropertyOptional({
    format: 'uuid',
    description: 'Of this one alone, which may have been deleted.',
    example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5',
  })
  @MayBeLeftOut()
  @IsUUID(undefined, { message: 'must be the id of a subscription' })
  subscription_id?: string;

  @ApiPropertyOptional({
    enum: INTERVALS,
    enumName: 'Interval',
    default: 'hour',
    description: 'How long a point of the series is.',
    example: 'hour',
  })
  @MayBeLeftOut()
  @OneOf(INTERVALS)
  interval: Interval = 'hour';
}

/** Nearest rank, each within 5 % of the exact one. */
export class LatencyResponse {
  @ApiProperty({ format: 'double', example: 41.95 })
  p50!: number;

  @ApiProperty({ format: 'double', example: 119.6 })
  p95!: number;

  @ApiProperty({ format: 'double', example: 278.3 })
  p99!: number;

  static from(histogram: LatencyHistogram): LatencyResponse | null {
    const found = histogram.percentiles([0.5, 0.95, 0.99]);
    if (!found) return null;
    const [p50, p95, p99] = found;
    return { p50: round(p50), p95: round(p95), p99: round(p99) };
  }
}

const round = (milliseconds: number): number => Math.round(milliseconds * 100) / 100;

class CountsResponse {
  @ApiProperty({ description: 'Attempts that were recorded.', example: 1204 })
  attempts!: number;

  @ApiProperty({ description: 'Deliveries that became delivered.', example: 1187 })
  delivered!: number;

  @ApiProperty({ description: 'Attempts without an answer of 2xx.', example: 17 })
  failures!: number;

  @ApiProperty({ description: 'Attempts that were not the first of their delivery.', example: 15 })
  retries!: number;

  @ApiProperty({ description: 'Deliveries that became dead letters.', example: 2 })
  dead!: number;

  @ApiProperty({
    type: Number,
    format: 'double',
    nullable: true,
    description: 'Of attempts, from 0 to 1; null without any.',
    example: 0.985880398671096,
  })
  success_rate!: number | null;
}

class TimedCountsResponse extends CountsResponse {
  @ApiProperty({
    type: LatencyResponse,
    nullable: true,
    description:
      'How long the attempts took that were answered or timed out, in milliseconds, each within 5 % of the exact ' +
      'percentile; null without any.',
  })
  latency_ms!: LatencyResponse | null;

  @ApiProperty({
    description:
      'Dead letters: in `totals` those of now, in a point those at its end. Counted up to 100,000.',
    example: 2,
  })
  dlq_size!: number;
}

class StatisticsTotalsResponse extends TimedCountsResponse {
  @ApiProperty({ format: 'double', description: 'Attempts a second, until now.', example: 0.0139 })
  throughput_per_second!: number;
}

export class StatisticsPointResponse extends TimedCountsResponse {
  @ApiProperty({ format: 'date-time', description: 'When it begins.', example: '2026-01-31T11:00:00.000Z' })
  at!: string;
}

class RangeResponse {
  @ApiProperty({ format: 'date-time', example: '2026-01-30T12:00:00.000Z' })
  from!: string;

  @ApiProperty({ format: 'date-time', description: 'Not included.', example: '2026-01-31T13:00:00.000Z' })
  to!: string;
}

export class StatisticsResponse extends RangeResponse {
  @ApiProperty({ enum: INTERVALS, enumName: 'Interval', example: 'hour' })
  interval!: Interval;

  @ApiProperty({ type: StatisticsTotalsResponse })
  totals!: StatisticsTotalsResponse;

  @ApiProperty({ type: [StatisticsPointResponse], description: 'Every interval, the first one first.' })
  series!: StatisticsPointResponse[];
}

class SubscriptionCountsResponse extends CountsResponse {
  @ApiProperty({ format: 'uuid', example: '0198c0d0-11aa-7c3d-8e4f-a0b1c2d3e4f5' })
  subscription_id!: string;
}

export class SubscriptionStatisticsResponse extends RangeResponse {
  @ApiProperty({ type: [SubscriptionCountsResponse], description: 'Those with the most failures first.' })
  data!: SubscriptionCountsResponse[];
}
