import { DataSource } from 'typeorm';
import { isSealed, KeyRing, SealedSecret, sealedPattern, UndecryptableSecret } from '../domain/encryption.js';
import { LEAST_UUID } from '../domain/uuid-v7.js';
import { dataSourceOptions } from './data-source.js';
import { Connection, Database } from './database.js';
import { ownerOf } from './repositories/subscription.repository.js';

/** Their locks are held for some 20 ms. */
const BATCH = 500;

/**
 * The next subscriptions that have a secret which is not like the pattern, in the order of subscription_pkey, so
 * that processes which do this at once wait for each other and never in a circle. Whoever waited sees what the other
 * one has written. This lock lets foreign keys refer to the row meanwhile.
 */
const LOCK_UNMATCHED = `
  select id, tenant_id, secret, previous_secret from subscription
  where id > $1 and (secret not like $2 or previous_secret not like $2)
  order by id limit ${BATCH}
  for no key update /* all tenants: every secret */`;

const WRITE = `
  update subscription set secret = fresh.secret, previous_secret = fresh.previous_secret
  from unnest($1::uuid[], $2::text[], $3::text[]) fresh (id, secret, previous_secret)
  where subscription.id = fresh.id /* all tenants: every secret */`;

const COUNT_UNMATCHED = `
  select count(*)::int as count from subscription
  where secret not like $1 or previous_secret not like $1 /* all tenants: every secret */`;

const KEY_IDS = `
  select substr(value, 8, 8) as key_id, count(*)::int as count
  from subscription, unnest(array[secret, previous_secret]) value
  where value like $1
  group by 1 order by 1 /* all tenants: every secret */`;

interface SecretRow {
  id: string;
  tenant_id: string;
  secret: SealedSecret;
  previous_secret: SealedSecret | null;
}

export interface Reencrypted {
  /** Subscriptions with a secret that was not under the first key, and now is. */
  changed: number;
  /** Subscriptions with a secret that no key opens, though its key is there: it was left as it was. */
  unreadable: string[];
}

/** The database holds secrets under keys that were not given. */
export class MissingEncryptionKey extends Error {}

/**
 * Makes sure that this process can read every secret, and encrypts those that are in plain text from before there was
 * encryption. Safe in any number of processes at once, and while others serve.
 * @throws MissingEncryptionKey
 */
export function protectSecrets(databaseUrl: string, keys: KeyRing): Promise<void> {
  return withSecrets(databaseUrl, keys, async (secrets) => {
    await secrets.checkKeys();
    await secrets.encryptAllBut(undefined);
  });
}

/**
 * Puts every secret under the first key, a batch at a time: can be interrupted, repeated, and run while the service
 * does.
 * @param onProgress told after each batch how many subscriptions are done, of how many
 * @throws MissingEncryptionKey
 */
export function reencryptSecrets(
  databaseUrl: string,
  keys: KeyRing,
  onProgress: (done: number, total: number) => void,
): Promise<Reencrypted> {
  return withSecrets(databaseUrl, keys, async (secrets) => {
    await secrets.checkKeys();
    const total = await secrets.countAllBut(keys.firstId);
    return secrets.encryptAllBut(keys.firstId, (done) => onProgress(done, Math.max(done, total)));
  });
}

class StoredSecrets {
  constructor(
    private readonly database: Database,
    private readonly keys: KeyRing,
  ) {}

  async checkKeys(): Promise<void> {
    const found = await this.database.run<{ key_id: string; count: number }>(KEY_IDS, [sealedPattern()]);
    const missing = found.filter(({ key_id }) => !this.keys.ids.includes(key_id));
    if (missing.length === 0) return;
    const list = missing
      .map(({ key_id, count }) => `${key_id} (${count} ${count === 1 ? 'secret' : 'secrets'})`)
      .join(', ');
    throw new MissingEncryptionKey(
      `The database holds secrets under an encryption key that was not given, by its id: ${list}. ` +
        `The keys that were given: ${this.keys.ids.join(', ')}. Add the missing one to ENCRYPTION_KEY, behind the ` +
        'others and after a comma; docs/operations.md says what to do when it is lost.',
    );
  }

  async countAllBut(keyId: string): Promise<number> {
    const [row] = await this.database.run<{ count: number }>(COUNT_UNMATCHED, [sealedPattern(keyId)]);
    return row?.count ?? 0;
  }

  /** @param keyId undefined: what is under any key stays as it is, and only plain text is encrypted */
  async encryptAllBut(
    keyId: string | undefined,
    onBatch: (done: number) => void = () => undefined,
  ): Promise<Reencrypted> {
    const result: Reencrypted = { changed: 0, unreadable: [] };
    let last: string | undefined = LEAST_UUID;
    while (last !== undefined) {
      const after: string = last;
      last = await this.database.transaction((connection) =>
        this.encryptBatch(connection, keyId, after, result),
      );
      if (last !== undefined) onBatch(result.changed + result.unreadable.length);
    }
    return result;
  }

  /** @returns the last one of the batch, if there was any */
  private async encryptBatch(
    connection: Connection,
    keyId: string | undefined,
    after: string,
    result: Reencrypted,
  ): Promise<string | undefined> {
    const rows = await connection.run<SecretRow>(LOCK_UNMATCHED, [after, sealedPattern(keyId)]);
    const fresh: SecretRow[] = [];
    const unreadable: string[] = [];
    for (const row of rows) {
      try {
        fresh.push(this.renewed(row, keyId));
      } catch (error) {
        if (!(error instanceof UndecryptableSecret)) throw error;
        unreadable.push(row.id);
      }
    }
    await connection.run(WRITE, [
      fresh.map(({ id }) => id),
      fresh.map(({ secret }) => secret),
      fresh.map(({ previous_secret }) => previous_secret),
    ]);
    result.changed += fresh.length;
    result.unreadable.push(...unreadable);
    return rows.at(-1)?.id;
  }

  private renewed(row: SecretRow, keyId: string | undefined): SecretRow {
    const owner = ownerOf(row.tenant_id, row.id);
    const renew = (secret: SealedSecret): SealedSecret =>
      isSealed(secret, keyId) ? secret : this.keys.encrypt(this.keys.decrypt(secret, owner), owner);
    return {
      ...row,
      secret: renew(row.secret),
      previous_secret: row.previous_secret && renew(row.previous_secret),
    };
  }
}

async function withSecrets<T>(
  databaseUrl: string,
  keys: KeyRing,
  work: (secrets: StoredSecrets) => Promise<T>,
): Promise<T> {
  const dataSource = await new DataSource(dataSourceOptions(databaseUrl, 1)).initialize();
  try {
    return await work(new StoredSecrets(new Database(dataSource), keys));
  } finally {
    await dataSource.destroy();
  }
}
