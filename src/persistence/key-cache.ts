import { Injectable } from '@nestjs/common';
import { hash } from 'node:crypto';
import { ChangeFeed } from './change-feed.js';
import { ApiKeyRepository } from './repositories/api-key.repository.js';

const MAX_AGE_MS = 60_000;
/** Whoever goes on with a wrong key costs a query this often, and not with each request. */
const UNKNOWN_MAX_AGE_MS = 5_000;
const MAX_KEYS = 10_000;

/** Whom a key speaks for. */
export interface KeyOwner {
  keyId: string;
  tenantId: string;
}

/** Which tenant a key belongs to, without a query when warm; kept right by {@link ChangeFeed}. */
@Injectable()
export class KeyCache {
  private readonly known = new Map<string, { owner: KeyOwner; loadedAt: number }>();
  /** When each key was found to be nobody's. Apart from the others, so that made-up keys cannot crowd them out. */
  private readonly unknown = new Map<string, number>();
  private generation = 0;

  constructor(
    private readonly keys: ApiKeyRepository,
    private readonly changes: ChangeFeed,
  ) {
    const clear = () => {
      this.known.clear();
      this.unknown.clear();
      this.generation++;
    };
    changes.subscribe(({ table }) => {
      if (table !== 'subscription') clear();
    }, clear);
  }

  /** @param key as it was presented; only its SHA-256 is looked up and kept */
  async owner(key: string): Promise<KeyOwner | undefined> {
    // As text: six times faster than with a buffer in between.
    const name = hash('sha256', key, 'base64');
    const cached = this.known.get(name);
    if (cached && cached.loadedAt > Date.now() - MAX_AGE_MS) return cached.owner;
    if ((this.unknown.get(name) ?? 0) > Date.now() - UNKNOWN_MAX_AGE_MS) return undefined;
    const { generation } = this;
    const wasListening = this.changes.isListening;
    const owner = await this.keys.findOwner(Buffer.from(name, 'base64'));
    // Read while nobody listened, or before a change or a gap in listening, it may be out of date by now.
    if (wasListening && generation === this.generation) {
      const loadedAt = Date.now();
      if (owner) setBounded(this.known, name, { owner, loadedAt });
      else setBounded(this.unknown, name, loadedAt);
    }
    return owner;
  }
}

function setBounded<Value>(map: Map<string, Value>, name: string, value: Value): void {
  if (map.size >= MAX_KEYS) map.clear();
  map.set(name, value);
}
