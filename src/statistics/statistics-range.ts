import { FieldError, invalidRequest } from '../domain/errors.js';

export const INTERVALS = ['minute', 'hour', 'day'] as const;
export type Interval = (typeof INTERVALS)[number];

export const INTERVAL_MS: Record<Interval, number> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 };

/** The most points of one answer: more than a day of minutes, two months of hours, four years of days. */
export const MAX_POINTS = 1_500;

const DEFAULT_SPAN_MS = 86_400_000;

/** Whole intervals by UTC, as milliseconds since the Unix epoch. */
export interface Range {
  fromMs: number;
  /** The end of the last interval: at most of the one that is now. */
  toMs: number;
}

/**
 * Widened to whole intervals, and cut off after the present one. A day until now unless given, or as much of it as there
 * are minutes of.
 * @param minutesSinceMs since when there are rows of minutes
 * @param isSeries false: it is for one sum, of whole intervals that the request does not name
 * @throws Problem invalid_request that says what would be right
 */
export function rangeOf(
  asked: { from?: string | undefined; to?: string | undefined; interval: Interval },
  nowMs: number,
  minutesSinceMs: number,
  isSeries = true,
): Range {
  const { interval, from, to } = asked;
  if (from !== undefined && to !== undefined && Date.parse(from) >= Date.parse(to)) throw noTime();
  const step = INTERVAL_MS[interval];
  const floor = (ms: number) => Math.floor(ms / step) * step;
  const end = floor(nowMs) + step;

  const toMs = asked.to === undefined ? end : Math.min(-floor(-Date.parse(asked.to)), end);
  const dayBefore = (asked.to === undefined ? nowMs : toMs) - DEFAULT_SPAN_MS;
  const earliest = interval === 'minute' ? Math.min(minutesSinceMs + step, toMs - step) : 0;
  const fromMs = floor(asked.from === undefined ? Math.max(dayBefore, earliest) : Date.parse(asked.from));
  if (fromMs >= toMs) throw noTime();
  const points = (toMs - fromMs) / step;
  if (points > MAX_POINTS) {
    throw isSeries ? refused('interval', tooMany(points, fromMs, toMs)) : refused('from', tooLong(interval));
  }
  if (interval === 'minute' && fromMs + step <= minutesSinceMs) {
    throw refused('interval', `minutes are kept since ${new Date(minutesSinceMs).toISOString()}: take hour`);
  }
  return { fromMs, toMs };
}

function tooMany(points: number, fromMs: number, toMs: number): string {
  const fitting = INTERVALS.find((one) => (toMs - fromMs) / INTERVAL_MS[one] <= MAX_POINTS - 1);
  const instead = fitting ? `take ${fitting}, or a shorter time` : 'take a shorter time';
  return `would make ${points.toLocaleString('en')} points of at most ${MAX_POINTS.toLocaleString('en')}: ${instead}`;
}

const tooLong = (interval: Interval) =>
  `must be at most ${MAX_POINTS.toLocaleString('en')} ${interval}s before \`to\``;

const noTime = () => refused('from', 'must be before `to`, and not in the future');
const refused = (path: FieldError['path'], message: string) => invalidRequest([{ path, message }]);
