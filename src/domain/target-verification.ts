/** Whether a target has shown that it wants what is sent there. */
export const VERIFICATIONS = ['not_required', 'pending', 'verified', 'failed'] as const;
export type Verification = (typeof VERIFICATIONS)[number];

export const CHALLENGE_TYPE = 'posthorn.challenge';

/** The body of a challenge. */
export function challengeBody(challenge: string): Buffer {
  return Buffer.from(JSON.stringify({ type: CHALLENGE_TYPE, challenge }));
}

/**
 * Whether an answer's body is the challenge: the text alone, or a JSON object whose `challenge` it is. The request's
 * own body does not count, so that a server which sends back what it gets does not verify anything.
 */
export function answersChallenge(body: string, challenge: string): boolean {
  if (body.trim() === challenge) return true;
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== 'object' || value === null || !('challenge' in value)) return false;
    return value.challenge === challenge && !('type' in value && value.type === CHALLENGE_TYPE);
  } catch {
    return false;
  }
}
