import { Problem } from '../domain/errors.js';
import type { SealedSecret } from '../domain/encryption.js';
import { MAX_SECRETS } from '../domain/signature.js';
import type { Database } from './database.js';
import { previousSecretsOf } from './row-secrets.js';

/** The previous secrets that have not expired at the time $5, as the column older_secrets keeps them, the newest last. */
const VALID = `
  (select coalesce(jsonb_agg(old.value), '[]') from (
     select value from jsonb_array_elements(older_secrets)
     union all
     select jsonb_build_object('secret', previous_secret, 'expires_at', previous_secret_expires_at)
     where previous_secret is not null
   ) old (value) where (old.value ->> 'expires_at')::timestamptz > $5)`;

export interface Rotation {
  tenantId: string;
  id: string;
  secret: SealedSecret;
  previousUntil: Date;
  now: Date;
}

/**
 * Puts a new secret in the place of the present one, which stays valid beside it until `previousUntil`, as do those
 * before it until their own ends.
 * @returns false, with nothing done, when there is no such row, or MAX_SECRETS of it would not be enough
 */
export async function rotateSecret(
  database: Database,
  table: 'subscription' | 'source',
  { tenantId, id, secret, previousUntil, now }: Rotation,
): Promise<boolean> {
  const rows = await database.run(
    `update ${table} set
       older_secrets = ${VALID}, previous_secret = secret, previous_secret_expires_at = $4, secret = $3, updated_at = $5
     where tenant_id = $1 and id = $2 and jsonb_array_length(${VALID}) <= ${MAX_SECRETS - 2}
     returning id`,
    [tenantId, id, secret, previousUntil, now],
  );
  return rows.length === 1;
}

/** Why a secret is not rotated: so many of them are valid already. */
export function tooManySecrets(row: Parameters<typeof previousSecretsOf>[0], nowMs: number): Problem {
  const ends = previousSecretsOf(row, nowMs).map(({ untilMs }) => untilMs);
  return new Problem(
    'conflict',
    `${MAX_SECRETS} secrets are valid at once at the most, and so many are. The next one of them ends at ` +
      `${new Date(Math.min(...ends)).toISOString()}: rotate after that, or with "overlap_seconds": 0, which ends all but ` +
      'the new one.',
  );
}
