import { expect, it } from 'vitest';
import { Problem } from '../../../src/domain/errors.js';
import { reasonOf } from '../../../src/http/health.controller.js';

it.each([
  ['our own text', new Problem('unavailable', 'is 40 seconds behind'), 'is 40 seconds behind'],
  [
    'the code of a driver',
    Object.assign(new Error('connect ECONNREFUSED 10.0.0.3:5432'), { code: 'ECONNREFUSED' }),
    'cannot be reached (ECONNREFUSED)',
  ],
  [
    'nothing of what has no code',
    new Error('All sentinels are unreachable. Last error: 10.0.0.3:26379'),
    'cannot be reached',
  ],
])('anybody may hear %s', (_, error, reason) => {
  expect(reasonOf(error)).toBe(reason);
});
