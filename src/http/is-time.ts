import { ValidateBy } from 'class-validator';

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/i;

/** A moment, as RFC 3339 writes it. */
export const IsTime = () =>
  ValidateBy({
    name: 'isTime',
    validator: {
      validate: (value) =>
        typeof value === 'string' && RFC3339.test(value) && !Number.isNaN(Date.parse(value)),
      defaultMessage: () => 'must be a time as in RFC 3339, such as 2026-01-31T12:00:00Z',
    },
  });
