import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import type { AddressRanges } from '../domain/address-ranges.js';
import { Problem } from '../domain/errors.js';
import type { OperatorKey } from '../domain/operator-key.js';

/** The keys of ADMIN_API_KEY and ADMIN_API_KEYS, by their SHA-256. */
@Injectable()
export class OperatorKeys {
  private readonly keys: ReadonlyMap<string, OperatorKey>;
  private readonly allowedIps: AddressRanges | null;

  constructor(config: Config) {
    this.keys = new Map(config.allOperatorKeys.map((key) => [key.sha256, key]));
    this.allowedIps = config.adminAllowedIps;
  }

  get areConfigured(): boolean {
    return this.keys.size > 0;
  }

  /** How long it takes tells nothing about the keys that there are: the SHA-256 of a guess cannot be chosen. */
  find(sha256: string): OperatorKey | undefined {
    return this.keys.get(sha256);
  }

  /** @throws Problem ip_not_allowed */
  requireAddress({ name, allowedIps }: OperatorKey, address: string): void {
    if ((allowedIps ?? this.allowedIps)?.has(address) !== false) return;
    throw new Problem(
      'ip_not_allowed',
      `The operator key "${name}" may not be used from ${address}. ADMIN_API_KEYS and ADMIN_ALLOWED_IPS say from where.`,
    );
  }
}
