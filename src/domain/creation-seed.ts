import { createHmac, randomBytes } from 'node:crypto';
import { uuidV7Of } from './uuid-v7.js';

/**
 * Where the id and the secrets come from that a request makes up. The seed of a request with an Idempotency-Key is
 * stored before anything is done: should the process end between the creation and its answer, the repetition makes up
 * the same id, finds the object under it, and answers as the first attempt would have.
 */
export class CreationSeed {
  private constructor(
    private readonly key: Buffer,
    /** When the request came first, in milliseconds. */
    readonly createdAtMs: number,
    /** Whether it is stored: then it may come again. */
    readonly isStored: boolean,
    /** Whether an earlier attempt may have made the object already. */
    readonly mayExist: boolean,
  ) {}

  /** For a request that is not repeated. */
  static fresh(nowMs: number): CreationSeed {
    return new CreationSeed(randomBytes(32), nowMs, false, false);
  }

  static stored(
    key: Buffer,
    { createdAtMs, mayExist }: { createdAtMs: number; mayExist: boolean },
  ): CreationSeed {
    return new CreationSeed(key, createdAtMs, true, mayExist);
  }

  /** The UUIDv7 of what is made. @param what tells the objects of one request apart */
  id(what = 'id'): string {
    return uuidV7Of(this.createdAtMs, this.bytes(what).toString('hex'));
  }

  /** 32 bytes that cannot be guessed without the seed. */
  bytes(purpose: string): Buffer {
    return createHmac('sha256', this.key).update(purpose).digest();
  }
}
