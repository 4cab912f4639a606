import { expect, it } from 'vitest';
import { answersChallenge, challengeBody } from '../../../src/domain/target-verification.js';

const CHALLENGE = 'pq3Zk0-7dYw';

it.each<[string, boolean]>([
  [CHALLENGE, true],
  [` ${CHALLENGE}\n`, true],
  [JSON.stringify({ challenge: CHALLENGE }), true],
  [JSON.stringify({ challenge: CHALLENGE, ok: true }), true],
  [challengeBody(CHALLENGE).toString(), false],
  ['', false],
  ['ok', false],
  ['null', false],
  ['{}', false],
  [JSON.stringify(CHALLENGE), false],
  [JSON.stringify([CHALLENGE]), false],
  [JSON.stringify({ challenge: `${CHALLENGE}x` }), false],
  [JSON.stringify({ data: { challenge: CHALLENGE } }), false],
  [`<p>${CHALLENGE}</p>`, false],
])('the answer %j: %s', (body, isAnswered) => {
  expect(answersChallenge(body, CHALLENGE)).toBe(isAnswered);
});
