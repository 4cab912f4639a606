import type { Config } from '../config/config.js';
import type { KeyRing, SealedSecret, SecretOwner } from '../domain/encryption.js';

/** The tables with secrets at rest, each in `secret` and `previous_secret`, which holds beside it for a while. */
export const SECRET_TABLES = ['subscription', 'source'] as const;
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
  inUse({ secret, previousSecret, previousSecretExpiresAt, ...row }: SealedColumns & Row) {
    const previousUntil = previousSecretExpiresAt?.getTime() ?? 0;
    const present = once(() => [this.reveal(secret, row)]);
    const both = once(() =>
      previousSecret === null ? present() : [...present(), this.reveal(previousSecret, row)],
    );
    return (nowMs: number): string[] => (nowMs < previousUntil ? both() : present());
  }

  private get keys(): KeyRing {
    const { encryptionKeys, role } = this.config;
    if (!encryptionKeys) throw new Error(`A process of role ${role} has no ENCRYPTION_KEY.`);
    return encryptionKeys;
  }
}

/** Both secrets of a row have one owner, so that the present one can become the previous one as it is. */
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
