import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { KeyRing } from './domain/encryption.js';
import { localSecret } from './embedded/local-secrets.js';
import { requireNoSealedSecrets } from './persistence/secrets-at-rest.js';

const ENCRYPTION_KEY_FILE = 'encryption-key';

/** Where the embedded service keeps its encryption keys. */
export function encryptionKeyFile(dataDir: string): string {
  return join(dataDir, ENCRYPTION_KEY_FILE);
}

/**
 * The encryption keys of the service that keeps its data in this folder, for which none were given: those of the
 * file `encryption-key`, which is made when there is none and no secret needs the one that was there.
 * @throws MissingEncryptionKey, with nothing written
 * @throws Error if the file cannot be read or holds no keys
 */
export async function embeddedKeys(dataDir: string, databaseUrl: string): Promise<KeyRing> {
  const path = encryptionKeyFile(dataDir);
  if (!existsSync(path)) {
    await requireNoSealedSecrets(
      databaseUrl,
      `${path} is missing, and nothing was written in its place. Put it back, or set ENCRYPTION_KEY to what it held.`,
    );
  }
  return readOrMakeKeys(dataDir);
}

/**
 * Like {@link embeddedKeys}, whatever the database holds.
 * @throws Error if the file cannot be read or holds no keys
 */
export function readOrMakeKeys(dataDir: string): KeyRing {
  const text = localSecret(dataDir, ENCRYPTION_KEY_FILE, () => KeyRing.generateKey());
  try {
    return KeyRing.parse(text);
  } catch (error) {
    throw new Error(`What ${encryptionKeyFile(dataDir)} holds ${(error as Error).message}`, {
      cause: error,
    });
  }
}
