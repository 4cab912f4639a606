import { hash, randomBytes } from 'node:crypto';
import type { Scope } from '../domain/scope.js';
import { ApiKeyEntity } from '../persistence/entities/api-key.entity.js';

const KEY_MARK = 'ph_';
const PREFIX_LENGTH = KEY_MARK.length + 4;

/** What is said of a key beside the key itself. */
export interface KeyDescription {
  id: string;
  tenantId: string;
  name: string;
  scopes: readonly Scope[];
  expiresAt: Date | null;
}

/** A new key: `ph_` and 256 random bits in base64url. @param bytes those */
export function generateApiKey(bytes: Buffer = randomBytes(32)): string {
  return KEY_MARK + bytes.toString('base64url');
}

/**
 * What is kept of a key: its SHA-256, and enough of both ends for its owner to recognise it. A slow hash would add
 * nothing: 256 random bits cannot be guessed.
 */
export function storedKey(key: string, description: KeyDescription, createdAt: Date): ApiKeyEntity {
  return Object.assign(new ApiKeyEntity(), {
    id: description.id,
    tenantId: description.tenantId,
    name: description.name,
    scopes: [...new Set(description.scopes)],
    expiresAt: description.expiresAt,
    lastUsedAt: null,
    replacedBy: null,
    keyHash: hash('sha256', key, 'buffer'),
    prefix: key.slice(0, PREFIX_LENGTH),
    lastFour: key.slice(-4),
    createdAt,
  });
}
