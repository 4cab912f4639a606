import { notOneOf } from './nearest-name.js';

export const DEFAULT_JITTER = 0.2;
export const MAX_DELAY_SECONDS = 30 * 24 * 3600;
export const MAX_ATTEMPTS = 100;
export const MAX_FACTOR = 100;

export type RetryPolicyName = 'standard' | 'fast' | 'patient' | 'inbox' | 'brief';

/** Explicit delays: seconds after each failure, so attempts = length + 1 and `[]` is one attempt. */
export interface ScheduleInput {
  schedule: number[];
  /** 0 to 1; 0 unless given. */
  jitter?: number;
}

/** Exponential delays: base × factor^(failures - 1), at most `max_seconds`. */
export interface ExponentialInput {
  base_seconds: number;
  factor: number;
  max_seconds: number;
  /** Counts the first attempt. */
  max_attempts: number;
  /** 0 to 1; 0.2 unless given. */
  jitter?: number;
}

/** `retry_policy` as a user writes it. */
export type RetryPolicyInput = RetryPolicyName | ScheduleInput | ExponentialInput;

/** Every form of policy comes down to the delay after each failure and how far it may stray. */
export interface RetryPolicy {
  /** Milliseconds after failure 1, 2, …; a delivery is exhausted by the failure after the last. */
  readonly delaysMs: readonly number[];
  /** Share of a delay by which it may be shorter or longer, 0 to 1. */
  readonly jitter: number;
}

export const NAMED_POLICIES: Readonly<Record<RetryPolicyName, RetryPolicy>> = {
  standard: fromSchedule([5, 30, 120, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400], DEFAULT_JITTER),
  fast: fromSchedule([1, 2, 4, 8, 16, 32], DEFAULT_JITTER),
  patient: fromSchedule([10, 30, 60, 300, 900], DEFAULT_JITTER),
  inbox: fromExponential(5, 2, 300, 5, DEFAULT_JITTER),
  // Published as 1, 2, 4, 8, 16 s with 5 attempts: the fifth failure is the last, so its 16 s are never waited.
  brief: fromExponential(1, 2, 16, 5, DEFAULT_JITTER),
};

/**
 * A retry policy that cannot be used: `path` is the member at fault (`retry_policy.schedule[2]`), the message what to
 * write there instead.
 */
export class InvalidRetryPolicy extends Error {
  override readonly name = 'InvalidRetryPolicy';

  constructor(
    readonly path: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * The policy that a user's `retry_policy` stands for.
 *
 * @throws InvalidRetryPolicy for anything but a known name, a schedule or an exponential rule within the limits
 *   (a delay of 30 days, 100 attempts, a factor of 1 to 100, a jitter of 0 to 1)
 * @param minDelaySeconds delays of a user's own below this are refused as well
 */
export function resolveRetryPolicy(input: unknown, minDelaySeconds = 0): RetryPolicy {
  if (typeof input === 'string') {
    if (!isPolicyName(input)) throw invalid('', notOneOf(input, Object.keys(NAMED_POLICIES)));
    return NAMED_POLICIES[input];
  }
  if (!isRecord(input)) {
    throw invalid(
      '',
      'must be a policy name, {"schedule": [seconds, …]} or {"base_seconds", "factor", "max_seconds", "max_attempts"}',
    );
  }
  return 'schedule' in input
    ? resolveSchedule(input, minDelaySeconds)
    : resolveExponential(input, minDelaySeconds);
}

/**
 * How long to wait after a failure, in milliseconds with jitter; null if the attempts are used up.
 *
 * @param failures failed attempts so far in this budget, at least 1
 * @param random uniform in [0, 1)
 */
export function nextDelayMs(policy: RetryPolicy, failures: number, random: () => number): number | null {
  if (!Number.isInteger(failures) || failures < 1) {
    throw new RangeError(`failures must be a whole number of at least 1, not ${failures}`);
  }
  const delay = policy.delaysMs[failures - 1];
  if (delay === undefined) return null;
  return Math.round(delay * (1 + policy.jitter * (2 * random() - 1)));
}

function resolveSchedule(input: Record<string, unknown>, minDelay: number): RetryPolicy {
  refuseUnknownKeys(input, ['schedule', 'jitter']);
  const { schedule } = input;
  if (!Array.isArray(schedule)) throw invalid('.schedule', 'must be a list of seconds such as [1, 2, 4]');
  if (schedule.length >= MAX_ATTEMPTS) {
    throw invalid('.schedule', `must have at most ${MAX_ATTEMPTS - 1} delays (${MAX_ATTEMPTS} attempts)`);
  }
  const delays = Array.from(schedule, (delay: unknown, index) =>
    numberBetween(delay, minDelay, MAX_DELAY_SECONDS, `.schedule[${index}]`, 'seconds'),
  );
  return fromSchedule(delays, jitterOf(input, 0));
}

function resolveExponential(input: Record<string, unknown>, minDelay: number): RetryPolicy {
  refuseUnknownKeys(input, ['base_seconds', 'factor', 'max_seconds', 'max_attempts', 'jitter']);
  const base = numberBetween(input['base_seconds'], minDelay, MAX_DELAY_SECONDS, '.base_seconds', 'seconds');
  const factor = numberBetween(input['factor'], 1, MAX_FACTOR, '.factor');
  const max = numberBetween(input['max_seconds'], 0, MAX_DELAY_SECONDS, '.max_seconds', 'seconds');
  const attempts = numberBetween(input['max_attempts'], 1, MAX_ATTEMPTS, '.max_attempts');
  if (!Number.isInteger(attempts)) throw invalid('.max_attempts', 'must be a whole number');
  if (max < base) throw invalid('.max_seconds', 'must not be less than base_seconds');
  return fromExponential(base, factor, max, attempts, jitterOf(input, DEFAULT_JITTER));
}

function fromSchedule(seconds: readonly number[], jitter: number): RetryPolicy {
  return { delaysMs: seconds.map((delay) => Math.round(delay * 1000)), jitter };
}

function fromExponential(
  baseSeconds: number,
  factor: number,
  maxSeconds: number,
  attempts: number,
  jitter: number,
): RetryPolicy {
  const seconds = Array.from({ length: attempts - 1 }, (_, retry) =>
    Math.min(baseSeconds * factor ** retry, maxSeconds),
  );
  return fromSchedule(seconds, jitter);
}

function jitterOf(input: Record<string, unknown>, fallback: number): number {
  return input['jitter'] === undefined ? fallback : numberBetween(input['jitter'], 0, 1, '.jitter');
}

function numberBetween(value: unknown, min: number, max: number, member: string, unit = ''): number {
  // Written so that NaN fails it too.
  if (typeof value === 'number' && value >= min && value <= max) return value;
  throw invalid(member, `must be a number from ${min} to ${max} ${unit}`.trimEnd());
}

function refuseUnknownKeys(input: Record<string, unknown>, known: readonly string[]): void {
  const unknown = Object.keys(input).find((key) => !known.includes(key));
  if (unknown !== undefined) throw invalid(`.${unknown}`, `is not known: use ${known.join(', ')}`);
}

function invalid(member: string, whatToDo: string): InvalidRetryPolicy {
  return new InvalidRetryPolicy(`retry_policy${member}`, whatToDo);
}

function isPolicyName(name: string): name is RetryPolicyName {
  return Object.hasOwn(NAMED_POLICIES, name);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
