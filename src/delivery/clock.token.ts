/** Injection token of the {@link Clock}. */
export const CLOCK = Symbol('clock');
