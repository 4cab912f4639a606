import { join } from 'node:path';
import { KeyRing } from './domain/encryption.js';
import { localSecret } from './embedded/local-secrets.js';

const ENCRYPTION_KEY_FILE = 'encryption-key';

/**
 * The encryption keys of the service that keeps its data in this folder, for which none were given: those of the
 * file `encryption-key`, which is made when there is none.
 * @throws Error if the file cannot be read or holds no keys
 */
export function embeddedKeys(dataDir: string): KeyRing {
  const text = localSecret(dataDir, ENCRYPTION_KEY_FILE, () => KeyRing.generateKey());
  try {
    return KeyRing.parse(text);
  } catch (error) {
    throw new Error(`What ${join(dataDir, ENCRYPTION_KEY_FILE)} holds ${(error as Error).message}`, {
      cause: error,
    });
  }
}
