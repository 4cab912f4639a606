import { isDeepStrictEqual } from 'node:util';
import { DataSource } from 'typeorm';
import { isSealed, KeyRing, SealedSecret, sealedPattern, UndecryptableSecret } from '../domain/encryption.js';
import { generateSecret } from '../domain/signing-secret.js';
import { LEAST_UUID } from '../domain/uuid-v7.js';
import { dataSourceOptions } from './data-source.js';
import { Connection, Database } from './database.js';
import type { OlderSecret } from './entities/subscription.entity.js';
import { ownerOf, SECRET_TABLES, SecretTable } from './row-secrets.js';

/** Their locks are held for some 20 ms. */
const BATCH = 500;

/** Like no secret, so that every row has one that is not like it. */
const NO_SECRET = '';

/**
 * What a start checks. Requests with an Idempotency-Key are left out: there may be so many that a look at each takes
 * longer than a statement may, they were never stored in plain text, and they live for a day.
 */
const TABLES_AT_START = SECRET_TABLES.filter((table) => table !== 'idempotent_request');

/** Of a database that was not migrated yet some are missing. */
const PRESENT_TABLES = `
  select name, exists (
    select from pg_attribute where attrelid = to_regclass(name) and attname = 'older_secrets' and not attisdropped
  ) as "keepsOlder"
  from unnest($1::text[]) name where to_regclass(name) is not null`;

/** The two columns of a table with secrets, of which the second one may be empty. */
const COLUMNS: Record<SecretTable, [string, string]> = {
  subscription: ['secret', 'previous_secret'],
  source: ['secret', 'previous_secret'],
  idempotent_request: ['seed', 'answer'],
};

/** The statements for one table, which may be from before older secrets were kept. */
function statementsFor(table: SecretTable, keepsOlder: boolean) {
  const [secret, previous] = COLUMNS[table];
  const older = keepsOlder ? 'older_secrets' : `'[]'::jsonb`;
  const olderTexts = `array(select older ->> 'secret' from jsonb_array_elements(${older}) older)`;
  const isUnmatched = (pattern: string): string =>
    `(${secret} not like ${pattern} or ${previous} not like ${pattern}
      or exists (select from unnest(${olderTexts}) older where older not like ${pattern}))`;
  return {
    table,
    /**
     * The next rows that have a secret which is not like the pattern, in the order of their primary key, so that
     * processes which do this at once wait for each other and never in a circle. A process that waited sees what the other one
     * has written. This lock lets foreign keys refer to the row meanwhile.
     */
    lockUnmatched: `
      select id, tenant_id, ${secret} as secret, ${previous} as previous_secret, ${older} as older_secrets from ${table}
      where id > $1 and ${isUnmatched('$2')}
      order by id limit ${BATCH}
      for no key update /* all tenants: every secret */`,
    write: `
      update ${table} set ${secret} = fresh.secret, ${previous} = fresh.previous_secret
      from unnest($1::uuid[], $2::text[], $3::text[]) fresh (id, secret, previous_secret)
      where ${table}.id = fresh.id /* all tenants: every secret */`,
    writeOlder: `
      update ${table} set older_secrets = $2::jsonb where ${table}.id = $1 /* all tenants: every secret */`,
    countUnmatched: `
      select count(*)::int as count from ${table}
      where ${isUnmatched('$1')} /* all tenants: every secret */`,
    keyIds: `
      select substr(value, 8, 8) as key_id, count(*)::int as count
      from ${table}, unnest(array[${secret}, ${previous}] || ${olderTexts}) value
      where value like $1
      group by 1 /* all tenants: every secret */`,
  };
}
type Statements = ReturnType<typeof statementsFor>;

interface SecretRow {
  id: string;
  tenant_id: string;
  secret: SealedSecret;
  previous_secret: SealedSecret | null;
  older_secrets: OlderSecret[];
}

export interface RowName {
  table: SecretTable;
  tenantId: string;
  id: string;
}

export interface Reencrypted {
  /** Rows with a secret that was not under the first key, and now is. */
  changed: number;
  /** Rows with a secret that no key opens, though its key is there: it was left as it was. */
  unreadable: RowName[];
  /** Rows with a secret that no key opens, and with a new one in its place. */
  replaced: RowName[];
}

interface PassOptions {
  onBatch?: (done: number) => void;
  /** Looks at what is under the right key too, and replaces whatever cannot be decrypted. */
  replaceLost?: boolean;
}

/** The database holds secrets under keys that were not given. */
export class MissingEncryptionKey extends Error {}

/**
 * Makes sure that no subscription or source has an encrypted secret. Writes nothing, and works before the first migration.
 * @param advice what to do, for the message of the error
 * @throws MissingEncryptionKey
 */
export function requireNoSealedSecrets(databaseUrl: string, advice: string): Promise<void> {
  return withDatabase(databaseUrl, TABLES_AT_START, (database, statements) =>
    requireKeys(database, statements, [], advice),
  );
}

/**
 * Makes sure that this process can read the secret of every subscription and source, and encrypts those that are in plain text from before there was
 * encryption. Safe in any number of processes at once, and while others serve.
 * @returns how many subscriptions and sources had a secret in plain text
 * @throws MissingEncryptionKey
 */
export function protectSecrets(databaseUrl: string, keys: KeyRing): Promise<number> {
  return withDatabase(databaseUrl, TABLES_AT_START, async (database, statements) => {
    await requireKeys(database, statements, keys.ids, adviceFor(keys));
    return (await new StoredSecrets(database, statements, keys).encryptAllBut(undefined)).changed;
  });
}

/**
 * Puts every secret under the first key, a batch at a time: can be interrupted, repeated, and run while the service
 * does.
 * @param onProgress told after each batch how many subscriptions and sources are done, of how many
 * @param options `replaceLost`: what cannot be decrypted, for whatever reason, gets a new secret
 * @throws MissingEncryptionKey unless `replaceLost`
 */
export function reencryptSecrets(
  databaseUrl: string,
  keys: KeyRing,
  onProgress: (done: number, total: number) => void,
  { replaceLost = false } = {},
): Promise<Reencrypted> {
  return withDatabase(databaseUrl, SECRET_TABLES, async (database, statements) => {
    if (!replaceLost) await requireKeys(database, statements, keys.ids, adviceFor(keys));
    else await forgetAnswers(database, statements);
    const secrets = new StoredSecrets(database, statements, keys);
    const total = await secrets.countAllBut(replaceLost ? undefined : keys.firstId);
    const onBatch = (done: number): void => onProgress(done, Math.max(done, total));
    return secrets.encryptAllBut(keys.firstId, { replaceLost, onBatch });
  });
}

/** Answers the last id of the batch. In the order of the primary key, so that no deleted row is looked at twice. */
const FORGET_BATCH = `
  with batch as (select id from idempotent_request where id > $1 order by id limit ${BATCH}),
    deleted as (delete from idempotent_request where id in (select id from batch))
  select id from batch order by id desc limit 1 /* all tenants: every secret */`;

/** What cannot be decrypted cannot be answered again; the others are forgotten with it, a day before their time. */
async function forgetAnswers(database: Database, statements: Statements[]): Promise<void> {
  if (!statements.some(({ table }) => table === 'idempotent_request')) return;
  let last: string | undefined = LEAST_UUID;
  while (last !== undefined) {
    const [deleted]: { id: string }[] = await database.run<{ id: string }>(FORGET_BATCH, [last]);
    last = deleted?.id;
  }
}

async function requireKeys(
  database: Database,
  statements: Statements[],
  given: readonly string[],
  advice: string,
): Promise<void> {
  const missing = new Map<string, number>();
  for (const { keyIds } of statements) {
    for (const use of await database.run<{ key_id: string; count: number }>(keyIds, [sealedPattern()])) {
      if (given.includes(use.key_id)) continue;
      missing.set(use.key_id, (missing.get(use.key_id) ?? 0) + use.count);
    }
  }
  if (missing.size === 0) return;
  const list = [...missing].map(([id, count]) => `${id} (${count} ${count === 1 ? 'secret' : 'secrets'})`);
  throw new MissingEncryptionKey(
    'The database holds secrets under an encryption key that was not given, by its id: ' +
      `${list.sort().join(', ')}. ${advice} docs/operations.md says what to do when it is lost.`,
  );
}

function adviceFor({ ids }: KeyRing): string {
  return (
    `The keys that were given: ${ids.join(', ')}. Add the missing one to ENCRYPTION_KEY, behind the others and ` +
    'after a comma.'
  );
}

class StoredSecrets {
  constructor(
    private readonly database: Database,
    private readonly statements: Statements[],
    private readonly keys: KeyRing,
  ) {}

  /** @param keyId undefined: all of them */
  async countAllBut(keyId: string | undefined): Promise<number> {
    let total = 0;
    const pattern = keyId === undefined ? NO_SECRET : sealedPattern(keyId);
    for (const { countUnmatched } of this.statements) {
      const [row] = await this.database.run<{ count: number }>(countUnmatched, [pattern]);
      total += row?.count ?? 0;
    }
    return total;
  }

  /** @param keyId undefined: what is under any key stays as it is, and only plain text is encrypted */
  async encryptAllBut(keyId: string | undefined, options: PassOptions = {}): Promise<Reencrypted> {
    const result: Reencrypted = { changed: 0, unreadable: [], replaced: [] };
    let done = 0;
    for (const statements of this.statements) {
      let last: string | undefined = LEAST_UUID;
      while (last !== undefined) {
        const after: string = last;
        const rows = await this.database.transaction((connection) =>
          this.encryptBatch(connection, statements, { keyId, after, ...options }, result),
        );
        last = rows.at(-1)?.id;
        done += rows.length;
        if (last !== undefined) options.onBatch?.(done);
      }
    }
    return result;
  }

  /** @returns the rows of the batch as they were */
  private async encryptBatch(
    connection: Connection,
    { table, lockUnmatched, write, writeOlder }: Statements,
    { keyId, after, replaceLost = false }: PassOptions & { keyId: string | undefined; after: string },
    result: Reencrypted,
  ): Promise<SecretRow[]> {
    const pattern = replaceLost ? NO_SECRET : sealedPattern(keyId);
    const rows = await connection.run<SecretRow>(lockUnmatched, [after, pattern]);
    const fresh: SecretRow[] = [];
    const found: Reencrypted = { changed: 0, unreadable: [], replaced: [] };
    for (const row of rows) {
      const name = { table, tenantId: row.tenant_id, id: row.id };
      try {
        const renewed = replaceLost ? this.readable(table, row, keyId) : this.renewed(table, row, keyId);
        if (isDeepStrictEqual(renewed, row)) continue;
        fresh.push(renewed);
        found.changed++;
      } catch (error) {
        if (!(error instanceof UndecryptableSecret)) throw error;
        if (!replaceLost) {
          found.unreadable.push(name);
          continue;
        }
        const secret = this.keys.encrypt(generateSecret(), ownerOf(table, name));
        fresh.push({ ...row, secret, previous_secret: null, older_secrets: [] });
        found.replaced.push(name);
      }
    }
    await connection.run(write, [
      fresh.map(({ id }) => id),
      fresh.map(({ secret }) => secret),
      fresh.map(({ previous_secret }) => previous_secret),
    ]);
    const before = new Map(rows.map((row) => [row.id, row.older_secrets]));
    for (const { id, older_secrets: older } of fresh) {
      if (isDeepStrictEqual(older, before.get(id))) continue;
      await connection.run(writeOlder, [id, JSON.stringify(older)]);
    }
    result.changed += found.changed;
    result.unreadable.push(...found.unreadable);
    result.replaced.push(...found.replaced);
    return rows;
  }

  private renewed(table: SecretTable, row: SecretRow, keyId: string | undefined): SecretRow {
    const owner = ownerOf(table, { tenantId: row.tenant_id, id: row.id });
    const renew = (secret: SealedSecret): SealedSecret =>
      isSealed(secret, keyId) ? secret : this.keys.encrypt(this.keys.decrypt(secret, owner), owner);
    return {
      ...row,
      secret: renew(row.secret),
      previous_secret: row.previous_secret && renew(row.previous_secret),
      older_secrets: row.older_secrets.map((older) => ({ ...older, secret: renew(older.secret) })),
    };
  }

  /**
   * Like {@link renewed}, without those before the present secret that cannot be decrypted.
   * @throws UndecryptableSecret if the present one cannot
   */
  private readable(table: SecretTable, row: SecretRow, keyId: string | undefined): SecretRow {
    const owner = ownerOf(table, { tenantId: row.tenant_id, id: row.id });
    this.keys.decrypt(row.secret, owner);
    const isReadable = (secret: SealedSecret | null): boolean => {
      try {
        if (secret !== null) this.keys.decrypt(secret, owner);
        return true;
      } catch (error) {
        if (!(error instanceof UndecryptableSecret)) throw error;
        return false;
      }
    };
    const previous_secret = isReadable(row.previous_secret) ? row.previous_secret : null;
    // Without a previous one there are none before it.
    const older_secrets =
      previous_secret === null ? [] : row.older_secrets.filter(({ secret }) => isReadable(secret));
    return this.renewed(table, { ...row, previous_secret, older_secrets }, keyId);
  }
}

async function withDatabase<T>(
  databaseUrl: string,
  tables: readonly SecretTable[],
  work: (database: Database, statements: Statements[]) => Promise<T>,
): Promise<T> {
  const dataSource = await new DataSource(dataSourceOptions(databaseUrl, 1)).initialize();
  try {
    const database = new Database(dataSource);
    const present = await database.run<{ name: SecretTable; keepsOlder: boolean }>(PRESENT_TABLES, [tables]);
    return await work(
      database,
      present.map(({ name, keepsOlder }) => statementsFor(name, keepsOlder)),
    );
  } finally {
    await dataSource.destroy();
  }
}
