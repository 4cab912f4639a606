import type { Config } from '../config/config.js';
import type { KeyRing, SealedSecret, SecretOwner } from '../domain/encryption.js';
import type { OlderSecret } from './entities/subscription.entity.js';

/** The tables with secrets at rest: in `secret`, and in `previous_secret` and `older_secrets` those before it. */
export const SECRET_TABLES = ['subscription', 'source', 'idempotent_request'] as const;
export type SecretTable = (typeof SECRET_TABLES)[number];

interface Row {
  tenantId: string;
  id: string;
}

interface PlainColumns {
  secret?: string;
  previousSecret?: string | null;
}

interface SealedColumns {
  secret: SealedSecret;
  previousSecret: SealedSecret | null;
  previousSecretExpiresAt: Date | null;
  olderSecrets: OlderSecret[];
}

/** A secret that is valid until a time, in milliseconds. */
export interface ExpiringSecret {
  secret: SealedSecret;
  untilMs: number;
}

/**
 * What is valid beside the present secret, the newest first. Where a process from before older secrets were kept has
 * set a new secret, there is no previous one, and the older ones are void as well.
 */
export function previousSecretsOf(row: Omit<SealedColumns, 'secret'>, nowMs: number): ExpiringSecret[] {
  const { previousSecret, previousSecretExpiresAt, olderSecrets } = row;
  if (previousSecret === null) return [];
  const previous = { secret: previousSecret, untilMs: previousSecretExpiresAt?.getTime() ?? 0 };
  const older = olderSecrets.map(({ secret, expires_at }) => ({ secret, untilMs: Date.parse(expires_at) }));
  return [previous, ...older.reverse()].filter(({ untilMs }) => nowMs < untilMs);
}

/** Encrypts and decrypts the secrets of the rows of one table. */
export class RowSecrets {
  constructor(
    private readonly table: SecretTable,
    private readonly config: Config,
  ) {}

  encrypt(plain: string, row: Row): SealedSecret {
    return this.keys.encrypt(plain, ownerOf(this.table, row));
  }

  /** @throws UndecryptableSecret */
  reveal(secret: SealedSecret, row: Row): string {
    return this.keys.decrypt(secret, ownerOf(this.table, row));
  }

  /** The given columns with their secrets encrypted. What is not among them stays out. */
  seal<Columns extends PlainColumns>({ secret, previousSecret, ...others }: Columns, row: Row) {
    return {
      ...others,
      ...(secret !== undefined && { secret: this.encrypt(secret, row) }),
      ...(previousSecret !== undefined && {
        previousSecret: previousSecret === null ? null : this.encrypt(previousSecret, row),
      }),
    };
  }

  /**
   * The secrets that hold at a time, the present one first. Decrypted when they are first asked for.
   * @returns a function that throws UndecryptableSecret, the same one each time
   */
  inUse({ secret, ...row }: SealedColumns & Row) {
    const present = once(() => [this.reveal(secret, row)]);
    const previous = previousSecretsOf(row, 0).map(({ secret: old, untilMs }) => ({
      untilMs,
      plain: once(() => [this.reveal(old, row)]),
    }));
    // Nearly always there is one secret, and no list is made.
    const overlapEndMs = Math.max(0, ...previous.map(({ untilMs }) => untilMs));
    return (nowMs: number): string[] => {
      if (nowMs >= overlapEndMs) return present();
      const valid = previous.filter(({ untilMs }) => nowMs < untilMs);
      return [...present(), ...valid.flatMap(({ plain }) => plain())];
    };
  }

  private get keys(): KeyRing {
    const { encryptionKeys, role } = this.config;
    if (!encryptionKeys) throw new Error(`A process of role ${role} has no ENCRYPTION_KEY.`);
    return encryptionKeys;
  }
}

/** All secrets of a row have one owner, so that the present one can become the previous one as it is. */
export function ownerOf(table: SecretTable, { tenantId, id }: Row): SecretOwner {
  return { table, tenantId, id };
}

/** What `read` gives or throws, read at the first call alone. */
function once<T extends object>(read: () => T): () => T {
  let value: T | undefined;
  let failure: Error | undefined;
  return () => {
    if (value) return value;
    if (failure) throw failure;
    try {
      return (value = read());
    } catch (error) {
      throw (failure = error as Error);
    }
  };
}
