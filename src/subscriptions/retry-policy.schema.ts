import type { ApiPropertyOptions } from '@nestjs/swagger';
import {
  DEFAULT_JITTER,
  MAX_ATTEMPTS,
  MAX_DELAY_SECONDS,
  MAX_FACTOR,
  NAMED_POLICIES,
} from '../domain/retry-policy.js';

const DELAY = { type: 'number', format: 'double', minimum: 0, maximum: MAX_DELAY_SECONDS } as const;
const JITTER = {
  type: 'number',
  format: 'double',
  minimum: 0,
  maximum: 1,
  description: 'The share of a delay by which it may be shorter or longer.',
} as const;

const BY_SCHEDULE = {
  title: 'ScheduleRetryPolicy',
  type: 'object',
  required: ['schedule'],
  properties: {
    schedule: {
      type: 'array',
      maxItems: MAX_ATTEMPTS - 1,
      items: DELAY,
      description: 'The seconds after each failure. Empty: one attempt.',
    },
    jitter: { ...JITTER, default: 0 },
  },
};

const EXPONENTIAL = {
  title: 'ExponentialRetryPolicy',
  type: 'object',
  required: ['base_seconds', 'factor', 'max_seconds', 'max_attempts'],
  properties: {
    base_seconds: { ...DELAY, description: 'The delay after the first failure.' },
    factor: { type: 'number', format: 'double', minimum: 1, maximum: MAX_FACTOR },
    max_seconds: { ...DELAY, description: 'The longest delay.' },
    max_attempts: { type: 'integer', minimum: 1, maximum: MAX_ATTEMPTS },
    jitter: { ...JITTER, default: DEFAULT_JITTER },
  },
};

const POLICY = {
  title: 'RetryPolicy',
  oneOf: [
    { title: 'RetryPolicyName', type: 'string', enum: Object.keys(NAMED_POLICIES) },
    // By itself, since generators tell alternatives apart either by their types or by their members.
    { title: 'CustomRetryPolicy', oneOf: [BY_SCHEDULE, EXPONENTIAL] },
  ],
};

/** `retry_policy` in the documentation. What is required in a form is in no other. */
export const RETRY_POLICY = { nullable: true, oneOf: [POLICY] } satisfies ApiPropertyOptions;
