import { uuidV7Floor } from '../../domain/uuid-v7.js';

export const DAY_MS = 86_400_000;

/** The tables that have a partition for each day; each day's are purged in this order. */
export const TABLES = ['delivery', 'delivery_attempt', 'event'] as const;
export type Table = (typeof TABLES)[number];

/** What may outlive its day although it is terminal. */
export interface Keep {
  completedSinceMs: number;
  deadSinceMs: number;
}

/** A day may have tens of millions of rows. */
export const SCAN_MS = 600_000;

/** Open, or a dead letter (since $1) that has its time still: one partial index each, delivery_due and delivery_dead. */
export const IS_DUE_OR_DEAD = 't.next_attempt_at is not null or t.dead_at >= $1';

/** That, or ended since $2. In no index, as a whole: it takes reading the day. */
export const IS_KEPT = `${IS_DUE_OR_DEAD} or (t.dead_at is null and t.completed_at >= $2)`;

export function keptValues({ deadSinceMs, completedSinceMs }: Keep): [Date, Date] {
  return [new Date(deadSinceMs), new Date(completedSinceMs)];
}

export function partitionOf(table: Table, day: number): string {
  return `${table}_${new Date(day).toISOString().slice(0, 10).replaceAll('-', '')}`;
}

/** The column that a table is partitioned by. */
export function keyOf(table: Table): 'id' | 'delivery_id' {
  return table === 'delivery_attempt' ? 'delivery_id' : 'id';
}

/** The least id of a day, and that of the next one. */
export function rangeOf(day: number): [string, string] {
  return [uuidV7Floor(day), uuidV7Floor(day + DAY_MS)];
}

export function dayBegin(ms: number): number {
  return Math.floor(ms / DAY_MS) * DAY_MS;
}
