import { ValidateBy } from 'class-validator';

const RFC3339 =
  /^(?<day>\d{4}-\d\d-\d\d)T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/i;

/** Years that RFC 3339 can write, and PostgreSQL as well: it has no year 0. */
const FIRST_MOMENT = Date.parse('0001-01-01T00:00:00Z');
const LAST_MOMENT = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** A moment, as RFC 3339 writes it, on a day that there is. */
export const IsTime = () =>
  ValidateBy({
    name: 'isTime',
    validator: {
      validate: isTime,
      defaultMessage: () => 'must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z',
    },
  });

function isTime(value: unknown): boolean {
  const day = typeof value === 'string' ? RFC3339.exec(value)?.groups?.['day'] : undefined;
  if (day === undefined) return false;
  // Date.parse takes the 31st of February for a day in March.
  const midnight = Date.parse(day);
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return false;
  const moment = Date.parse(value as string);
  return moment >= FIRST_MOMENT && moment <= LAST_MOMENT;
}
