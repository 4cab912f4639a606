import type { Connection } from '../database.js';
import { type IdRange, idsOfMillisecond, intersection, isEmpty, successor } from './id-range.js';
import type { Direction, StepRequest } from './step-request.js';
import { stepStatement } from './step-statement.js';

/** How many of those that fit have the same value; `at` in milliseconds. */
export interface Count {
  what: 'status' | 'event_type' | 'at';
  value: string;
  count: number;
}

export interface StepResult {
  /** Those that fit, in the order of the walk. */
  ids: string[];
  counts: Count[];
  /** What of the range has not been looked at; null when nothing is left of it. */
  rest: IdRange | null;
}

/**
 * One bounded piece of a walk through an index: some entries of each arm, and which of them fit. What it costs follows
 * from `size`, whatever the filter and however little fits.
 *
 * Where one millisecond has more events than that, nothing is looked at: `rest` is the range itself.
 * @returns undefined when it had not ended after `limitMs`
 */
export async function takeStep(
  connection: Connection,
  request: StepRequest,
  limitMs: number,
): Promise<StepResult | undefined> {
  const { text, values } = stepStatement(request);
  const rows = await connection.runWithin<{
    ids: string[];
    counts: Count[] | null;
    last: string | null;
    unseen: string | null;
  }>(limitMs, text, values);
  if (!rows) return undefined;
  const [found] = rows;
  if (!found) throw new Error('A step gave no answer.');
  const { ids, counts, last, unseen } = found;
  const { direction, range } = request;
  const rests = [
    ...(last === null ? [] : [behind(last, request)]),
    ...(unseen === null ? [] : [from(unseen, direction, range)]),
  ];
  // The one that leaves the most.
  const low = rests.map((rest) => rest.low).sort()[0] ?? range.high;
  const high =
    rests
      .map((rest) => rest.high)
      .sort()
      .at(-1) ?? range.low;
  const rest = intersection(range, { low, high });
  return { ids, counts: counts ?? [], rest: isEmpty(rest) ? null : rest };
}

/** What is left where the last entry of some arm that may have more of them was this one. */
function behind(last: string, { wanted, driver, direction, range }: StepRequest): IdRange {
  // Other events of its millisecond may have been left out, whose deliveries lie among those of the others.
  if (driver.table !== wanted.kind) {
    const { low, high } = idsOfMillisecond(last);
    return direction === 'older' ? { low: range.low, high } : { low, high: range.high };
  }
  return direction === 'older' ? { low: range.low, high: last } : { low: successor(last), high: range.high };
}

function from(unseen: string, direction: Direction, { low, high }: IdRange): IdRange {
  return direction === 'older' ? { low, high: successor(unseen) } : { low: unseen, high };
}
