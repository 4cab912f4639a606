import { createHash, randomBytes } from 'node:crypto';
import { uuidV7 } from '../domain/uuid-v7.js';
import { ApiKeyEntity } from '../persistence/entities/api-key.entity.js';

const KEY_MARK = 'ph_';
const PREFIX_LENGTH = KEY_MARK.length + 4;

/** A new key: `ph_` and 256 random bits in base64url. */
export function generateApiKey(): string {
  return KEY_MARK + randomBytes(32).toString('base64url');
}

/** What is kept of a key: its SHA-256, and enough of both ends for its owner to recognise it. */
export function storedKey(tenantId: string, name: string, key: string, createdAt: Date): ApiKeyEntity {
  return Object.assign(new ApiKeyEntity(), {
    id: uuidV7(createdAt.getTime()),
    tenantId,
    name,
    keyHash: createHash('sha256').update(key).digest(),
    prefix: key.slice(0, PREFIX_LENGTH),
    lastFour: key.slice(-4),
    createdAt,
  });
}
