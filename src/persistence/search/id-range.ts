import { LEAST_UUID } from '../../domain/uuid-v7.js';

/** Ids from `low`, which is one of them, up to `high`, which is none. */
export interface IdRange {
  low: string;
  high: string;
}

/** No id of ours is greater. */
const GREATEST_UUID = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
export const ALL_IDS: IdRange = { low: LEAST_UUID, high: GREATEST_UUID };

/** UUIDs in lower case sort as their text. */
export function intersection(a: IdRange, b: IdRange): IdRange {
  return { low: a.low > b.low ? a.low : b.low, high: a.high < b.high ? a.high : b.high };
}

export const isEmpty = ({ low, high }: IdRange): boolean => low >= high;

/** The id right behind it, and the one right before; at the ends there is none but itself. */
export const successor = (id: string): string => (id === GREATEST_UUID ? id : moved(id, 1n));
export const predecessor = (id: string): string => (id === LEAST_UUID ? id : moved(id, -1n));

function moved(id: string, by: bigint): string {
  const hex = (BigInt(`0x${id.replaceAll('-', '')}`) + by).toString(16).padStart(32, '0');
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** All ids of the millisecond that a UUIDv7 carries: an event's deliveries share it. */
export function idsOfMillisecond(id: string): IdRange {
  const time = id.slice(0, 13);
  return { low: `${time}-0000-0000-000000000000`, high: successor(`${time}-ffff-ffff-ffffffffffff`) };
}
