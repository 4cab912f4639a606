import { ValidateIf } from 'class-validator';

/**
 * May be left out, but null is no value for it. class-validator's `IsOptional` lets null through unchecked: a filter
 * of null would then match everything.
 */
export const MayBeLeftOut = (): PropertyDecorator => ValidateIf((_, value) => value !== undefined);

/** May be left out, and may be null, which means something of its own. */
export const MayBeNull = (): PropertyDecorator =>
  ValidateIf((_, value) => value !== undefined && value !== null);
