import { Injectable } from '@nestjs/common';
import { ChangeFeed } from './change-feed.js';
import { ApiKeyRepository } from './repositories/api-key.repository.js';

const MAX_AGE_MS = 60_000;
const MAX_KEYS = 10_000;

/** Whom a key speaks for. */
export interface KeyOwner {
  keyId: string;
  tenantId: string;
}

/** Which tenant a key belongs to, without a query when warm; kept right by {@link ChangeFeed}. */
@Injectable()
export class KeyCache {
  private readonly owners = new Map<string, { owner: KeyOwner; loadedAt: number }>();
  private generation = 0;

  constructor(
    private readonly keys: ApiKeyRepository,
    private readonly changes: ChangeFeed,
  ) {
    const clear = () => {
      this.owners.clear();
      this.generation++;
    };
    changes.subscribe(({ table }) => {
      if (table !== 'subscription') clear();
    }, clear);
  }

  /** @param hash SHA-256 of the key */
  async owner(hash: Buffer): Promise<KeyOwner | undefined> {
    const name = hash.toString('base64');
    const cached = this.owners.get(name);
    if (cached && cached.loadedAt > Date.now() - MAX_AGE_MS) return cached.owner;
    const { generation } = this;
    const owner = await this.keys.findOwner(hash);
    if (owner && this.changes.isListening && generation === this.generation) {
      if (this.owners.size >= MAX_KEYS) this.owners.clear();
      this.owners.set(name, { owner, loadedAt: Date.now() });
    }
    return owner;
  }
}
