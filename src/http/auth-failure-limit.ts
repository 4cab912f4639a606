import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import type { AddressRanges } from '../domain/address-ranges.js';
import { Problem } from '../domain/errors.js';
import { addressGroup } from '../domain/ip-address.js';
import { RateLimitRule, TokenBucket } from '../domain/token-bucket.js';
import { BucketTable } from '../limits/bucket-table.js';
import { boundedCache } from '../domain/bounded-cache.js';
import { LOGGER } from '../observability/logger.js';
import { Metrics } from '../observability/metrics.js';

/** Of all addresses together, as many failures as of so many single ones. */
const ADDRESSES_IN_ALL = 10;
const MAX_ADDRESSES = 20_000;
const MAX_PROVEN = 20_000;
const LOG_INTERVAL_MS = 10_000;

/** One attempt to authenticate. It is paid for in advance, so that a thousand at once are no way around. */
export interface AuthAttempt {
  /** Whether it may be compared with the operator keys: not while too many fail, from wherever. */
  mayBeOperator: boolean;
  /** Returns what was paid, and lets the same credential pass from the same address later on. */
  succeeded(): void;
  /** Returns what was paid: the answer told the client nothing that it did not know. */
  forgiven(): void;
  failed(): void;
}

/**
 * Limits failed authentications for each client address (IPv6: each /64, which is what one client has), and for
 * operator keys in all: for the addresses that they are to be used from, and for all others, whose failures hold up
 * no operator where those are configured. A credential that was right before from the same address is not held up by the failures of
 * others there, nor by those of all; the same credential from another address has that address' limit. Of this process
 * alone: with n processes an attacker has n times as many guesses.
 */
@Injectable()
export class AuthFailureLimit {
  private readonly rule: RateLimitRule;
  private readonly ruleInAll: RateLimitRule;
  private readonly byAddress = new BucketTable(TokenBucket, MAX_ADDRESSES);
  private readonly inAll: Record<'operators' | 'others', TokenBucket>;
  /** ADMIN_ALLOWED_IPS, and those of single keys. */
  private readonly operatorAddresses: readonly AddressRanges[];
  /** Address group and SHA-256 of a credential. */
  private readonly proven = boundedCache<true>(MAX_PROVEN);
  private loggedAtMs = -Infinity;

  constructor(
    { authFailuresPerMinute, adminAllowedIps, allOperatorKeys }: Config,
    private readonly metrics: Metrics,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.rule = { perSecond: authFailuresPerMinute / 60, burst: authFailuresPerMinute };
    const inAll = authFailuresPerMinute * ADDRESSES_IN_ALL;
    this.ruleInAll = { perSecond: inAll / 60, burst: inAll };
    const nowMs = performance.now();
    this.inAll = {
      operators: new TokenBucket(this.ruleInAll, nowMs),
      others: new TokenBucket(this.ruleInAll, nowMs),
    };
    this.operatorAddresses = [adminAllowedIps, ...allOperatorKeys.map(({ allowedIps }) => allowedIps)].filter(
      (ranges) => ranges !== null,
    );
  }

  /**
   * @param credentialHash SHA-256 of the credential; of a session, of its cookie
   * @throws Problem rate_limited before anything is compared or looked up
   */
  begin(address: string, credentialHash: string): AuthAttempt {
    const group = addressGroup(address);
    const name = `${group} ${credentialHash}`;
    if (this.proven.get(name)) {
      return { ...UNCHARGED, failed: () => this.proven.delete(name) };
    }
    const nowMs = performance.now();
    const bucket = this.byAddress.get(group, this.rule, nowMs);
    const { allowed, retryAfterSeconds } = bucket.take(1);
    if (!allowed) throw this.refusal(address, retryAfterSeconds);
    const inAll = this.inAllFor(address, nowMs);
    const mayBeOperator = inAll.take(1).allowed;
    const forgiven = (): void => {
      bucket.giveBack(1);
      if (mayBeOperator) inAll.giveBack(1);
    };
    const succeeded = (): void => {
      forgiven();
      this.proven.set(name, true);
    };
    return { mayBeOperator, succeeded, forgiven, failed: () => undefined };
  }

  /** @returns Problem rate_limited for an operator's route while too many authentications fail, from wherever */
  refusedInAll(address: string): Problem {
    const inAll = this.inAllFor(address, performance.now());
    return this.refusal(address, inAll.refuse(1, 0).retryAfterSeconds);
  }

  private inAllFor(address: string, nowMs: number): TokenBucket {
    const isOfOperator = this.operatorAddresses.some((ranges) => ranges.has(address));
    const bucket = this.inAll[isOfOperator ? 'operators' : 'others'];
    bucket.refill(this.ruleInAll, nowMs);
    return bucket;
  }

  private refusal(address: string, retryAfterSeconds: number): Problem {
    this.metrics.authLimited();
    const nowMs = performance.now();
    if (nowMs - this.loggedAtMs >= LOG_INTERVAL_MS) {
      this.loggedAtMs = nowMs;
      this.logger.warn({ ip: address }, 'auth.failures_limited');
    }
    return new Problem(
      'rate_limited',
      'Too many requests with wrong keys have come from this address, or from all. This one was not looked at; send it ' +
        'again after the time in Retry-After. Keys that were used from this address before are not affected.',
      { retryAfterSeconds },
    );
  }
}

const UNCHARGED = { mayBeOperator: true, succeeded: () => undefined, forgiven: () => undefined };
