import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { LOGGER } from '../observability/logger.js';
import { PurgeStep } from '../persistence/repositories/purge.repository.js';
import {
  KEY_TABLES,
  STATISTICS_TABLES,
  TenantPurgeRepository,
  TenantShare,
} from '../persistence/repositories/tenant-purge.repository.js';

/** How many rows are gone. */
export interface TenantRows {
  deliveries: number;
  attempts: number;
  events: number;
  /** Idempotency keys. */
  keys: number;
}

/** Those of all that a tenant owned. */
export interface AllTenantRows extends TenantRows {
  statistics: number;
}

export interface Supervisor {
  /** Ends it after the present step. */
  stopping: AbortSignal;
  /** Called after each step. */
  stepped?(): void;
}

/**
 * Walks over what one tenant owns, in short steps: all of it, or what has had its time. What is deleted is added to
 * `rows` as it goes, so that it counts even if a later step fails.
 */
@Injectable()
export class TenantPurge {
  constructor(
    private readonly purges: TenantPurgeRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Everything but the tenant, and what workers have in hand: nothing is left behind once it finds nothing. */
  async runAll(tenantId: string, rows: AllTenantRows, supervisor: Supervisor): Promise<void> {
    await this.runShare(tenantId, 'everything', rows, supervisor);
    for (const table of KEY_TABLES) {
      await walk<string>(supervisor, async (at) => {
        const step = await this.purges.deleteKeys(tenantId, table, at);
        rows.keys += step.count;
        return step;
      });
    }
    for (const table of STATISTICS_TABLES) {
      await walk<true>(supervisor, async () => {
        const step = await this.purges.deleteOthers(tenantId, table);
        rows.statistics += step.count;
        return step;
      });
    }
    await walk<true>(supervisor, async () => {
      const step = await this.purges.deleteOthers(tenantId, 'idempotent_request');
      rows.keys += step.count;
      return step;
    });
  }

  /** What has had its time by the retention of its own tenant; that of the service holds as well. */
  async runRetentions(nowMs: number, rows: TenantRows, supervisor: Supervisor): Promise<void> {
    for (const { id, hours } of await this.purges.ownRetentions()) {
      const endedBeforeMs = Math.floor(nowMs - hours * 3_600_000);
      await this.runShare(id, { endedBeforeMs }, rows, supervisor).catch((error: unknown) => {
        this.logger.error({ err: error, tenant_id: id }, 'cleanup.tenant_failed');
      });
    }
  }

  private async runShare(
    tenantId: string,
    share: TenantShare,
    rows: TenantRows,
    supervisor: Supervisor,
  ): Promise<void> {
    await walk<string>(supervisor, async (at) => {
      const step = await this.purges.deleteDeliveries(tenantId, share, at);
      rows.deliveries += step.count;
      rows.attempts += step.attempts;
      return step;
    });
    await walk<string>(supervisor, async (at) => {
      const step = await this.purges.deleteEvents(tenantId, share, at);
      rows.events += step.count;
      rows.keys += step.keys;
      return step;
    });
  }
}

async function walk<Cursor>(
  supervisor: Supervisor,
  step: (at: Cursor | null) => Promise<PurgeStep<Cursor>>,
): Promise<void> {
  let at: Cursor | null = null;
  while (!supervisor.stopping.aborted) {
    ({ next: at } = await step(at));
    supervisor.stepped?.();
    if (at === null) return;
  }
}
