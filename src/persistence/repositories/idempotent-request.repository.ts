import { randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Config } from '../../config/config.js';
import { CreationSeed } from '../../domain/creation-seed.js';
import type { SealedSecret } from '../../domain/encryption.js';
import { LEAST_UUID, uuidV7 } from '../../domain/uuid-v7.js';
import { Database } from '../database.js';
import { RowSecrets } from '../row-secrets.js';

/** How long a key is remembered. */
export const KEY_HOURS = 24;
/** Of one tenant, in that time. */
export const MAX_KEYS = 10_000;
/** Of one kept answer, as it is stored: encrypted, in base64. The longest one of any route has less than half of it. */
export const MAX_ANSWER_BYTES = 256 * 1024;
/** Of all kept answers of one tenant, as they are stored. Those to usual requests have 10,000 times 1 to 2 KiB. */
export const MAX_KEPT_BYTES = 32 * 1024 * 1024;
/** Longer than a request may take, but for bulk work, whose repetition is harmless: then the key may be taken over. */
const LEASE_SECONDS = 60;

/** Whose request it is, by which key, and what must be the same for a repetition to be one. */
export interface KeyedRequest {
  /** Null: the operator's. */
  tenantId: string | null;
  key: string;
  /** SHA-256. */
  fingerprint: Buffer;
}

/** An answer as it is given again. */
export interface KeptAnswer {
  status: number;
  location: string | null;
  body: string;
}

/** One attempt to carry a request out. */
export interface Attempt {
  tenantId: string;
  id: string;
  number: number;
  seed: CreationSeed;
}

export type Begun =
  | { kind: 'begun'; attempt: Attempt }
  | { kind: 'answered'; answer: KeptAnswer }
  | { kind: 'in progress' | 'another request' | 'too many keys' | 'answer dropped' };

/** Rows that are older are as good as deleted: the purge may not have reached them. */
const IS_REMEMBERED = `created_at > now() - interval '${KEY_HOURS} hours'`;

/** @param tenantId the parameter that holds it, such as `$1` */
const hasSpareKey = (tenantId: string): string => `
  (select count(*) from (
     select from idempotent_request where tenant_id = ${tenantId} and ${IS_REMEMBERED} limit ${MAX_KEYS}
   ) remembered) < ${MAX_KEYS}`;

/**
 * Takes the key where it is new, was forgotten, or belongs to the same request, of which no attempt is under way and
 * none succeeded. The keys are counted only where this makes one more; `case` is evaluated in its order, `or` may not
 * be. Uses idempotent_request_tenant_key.
 */
const BEGIN = `
  insert into idempotent_request as r (id, tenant_id, key, fingerprint, seed, leased_until, created_at)
  select $1, $2::uuid, $3, $4, $5, now() + make_interval(secs => ${LEASE_SECONDS}), now()
  where case
    when exists (select from idempotent_request where tenant_id = $2 and key = $3 and ${IS_REMEMBERED}) then true
    else ${hasSpareKey('$2')} end
  on conflict (tenant_id, key) do update set
    (id, fingerprint, seed, answer, answer_dropped, attempt, created_at) = (
      select * from (
        select excluded.id, excluded.fingerprint, excluded.seed, null, false, 1, excluded.created_at
      ) anew
      where r.created_at <= now() - interval '${KEY_HOURS} hours'
      union all
      select * from (
        select r.id, r.fingerprint, r.seed, r.answer, r.answer_dropped, r.attempt + 1, r.created_at
      ) again
      where r.created_at > now() - interval '${KEY_HOURS} hours'),
    leased_until = excluded.leased_until
  where r.created_at <= now() - interval '${KEY_HOURS} hours'
     or (r.fingerprint = excluded.fingerprint and r.answer is null and not r.answer_dropped
         and r.leased_until <= now())
  returning r.id, r.seed, r.attempt, r.created_at`;

const KEPT = `
  select id, fingerprint, answer, answer_dropped as "answerDropped" from idempotent_request
  where tenant_id = $1 and key = $2 and ${IS_REMEMBERED}`;

const HAS_SPARE_KEY = `select ${hasSpareKey('$1')} as "hasSpareKey"`;

/**
 * Drops the oldest answers of a tenant until the others take no more than the limit. Their keys stay, so that nothing
 * is done twice. Two of these at once pass over what the other one drops. Uses idempotent_request_tenant_key.
 */
const DROP_OLDEST = `
  update idempotent_request set answer = null, answer_dropped = true
  where tenant_id = $1 and id = any (array(
    select id from idempotent_request where tenant_id = $1 and id in (
      select id from (
        select id, sum(octet_length(answer)) over (order by created_at desc, id desc) as bytes
        from idempotent_request where tenant_id = $1 and answer is not null
      ) newest_first
      where bytes > ${MAX_KEPT_BYTES})
    for no key update skip locked))`;

/** Between two statements of ours another attempt may end, and free the key. */
const TRIES = 2;

interface BegunRow {
  id: string;
  seed: SealedSecret;
  attempt: number;
  created_at: Date;
}

interface KeptRow {
  id: string;
  fingerprint: Buffer;
  answer: SealedSecret | null;
  answerDropped: boolean;
}

/** Requests with an Idempotency-Key. Seeds and answers hold secrets, and are stored encrypted. */
@Injectable()
export class IdempotentRequestRepository {
  private readonly secrets: RowSecrets;

  constructor(
    private readonly database: Database,
    config: Config,
  ) {
    this.secrets = new RowSecrets('idempotent_request', config);
  }

  /** @throws UndecryptableSecret when what was kept of it is under a key that is gone */
  async begin({ tenantId: owner, key, fingerprint }: KeyedRequest): Promise<Begun> {
    const tenantId = owner ?? LEAST_UUID;
    const id = uuidV7(Date.now());
    const seed = this.secrets.encrypt(randomBytes(32).toString('base64'), { tenantId, id });
    for (let left = TRIES; left > 0; left--) {
      const [row] = await this.database.run<BegunRow>(BEGIN, [id, tenantId, key, fingerprint, seed]);
      if (row) return { kind: 'begun', attempt: this.attemptOf(tenantId, row) };
      const [kept] = await this.database.run<KeptRow>(KEPT, [tenantId, key]);
      if (kept) return this.outcomeOf(kept, tenantId, fingerprint);
      const [limit] = await this.database.run<{ hasSpareKey: boolean }>(HAS_SPARE_KEY, [tenantId]);
      if (!limit?.hasSpareKey) return { kind: 'too many keys' };
    }
    // Other attempts begin and end between our statements.
    return { kind: 'in progress' };
  }

  /**
   * Keeps the answer for repetitions, in the place of the oldest ones if need be. One that is too long is dropped at
   * once. An attempt that was taken over meanwhile changes nothing.
   */
  async keep({ tenantId, id, number }: Attempt, answer: KeptAnswer): Promise<void> {
    const sealed = this.secrets.encrypt(JSON.stringify(answer), { tenantId, id });
    const isTooLong = sealed.length > MAX_ANSWER_BYTES;
    await this.database.run(
      `update idempotent_request set answer = $4, answer_dropped = $5
       where tenant_id = $1 and id = $2 and attempt = $3 and answer is null`,
      [tenantId, id, number, isTooLong ? null : sealed, isTooLong],
    );
    await this.database.run(DROP_OLDEST, [tenantId]);
  }

  /** For a first attempt that did nothing: its key is free again. */
  async forget({ tenantId, id, number }: Attempt): Promise<void> {
    await this.database.run(
      'delete from idempotent_request where tenant_id = $1 and id = $2 and attempt = $3 and answer is null',
      [tenantId, id, number],
    );
  }

  /** For an attempt of which it is not known what it did: the next one may begin now, with the same seed. */
  async release({ tenantId, id, number }: Attempt): Promise<void> {
    await this.database.run(
      `update idempotent_request set leased_until = now()
       where tenant_id = $1 and id = $2 and attempt = $3 and answer is null`,
      [tenantId, id, number],
    );
  }

  private outcomeOf(
    { id, fingerprint, answer, answerDropped }: KeptRow,
    tenantId: string,
    asked: Buffer,
  ): Begun {
    if (!fingerprint.equals(asked)) return { kind: 'another request' };
    if (answerDropped) return { kind: 'answer dropped' };
    if (answer === null) return { kind: 'in progress' };
    return {
      kind: 'answered',
      answer: JSON.parse(this.secrets.reveal(answer, { tenantId, id })) as KeptAnswer,
    };
  }

  private attemptOf(tenantId: string, { id, seed, attempt, created_at }: BegunRow): Attempt {
    const key = Buffer.from(this.secrets.reveal(seed, { tenantId, id }), 'base64');
    const begun = { createdAtMs: created_at.getTime(), mayExist: attempt > 1 };
    return { tenantId, id, number: attempt, seed: CreationSeed.stored(key, begun) };
  }
}
