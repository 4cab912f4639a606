import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Database } from '../persistence/database.js';
import { AuditRepository } from '../persistence/repositories/audit.repository.js';
import { TenantPurgeRepository } from '../persistence/repositories/tenant-purge.repository.js';
import type { PeriodicTask } from '../schedule/periodic-task.js';
import { PeriodicTasks } from '../schedule/periodic-tasks.js';
import { type AllTenantRows, TenantPurge } from './tenant-purge.js';

/**
 * The tenant itself stays that long, so that whatever still arrives is found and deleted: an api process that hears
 * nothing may know a key for 60 s more, a request may take 30 s to arrive, and its statement 35 s.
 */
const GRACE_SECONDS = 180;

const PROGRESS_MS = 10_000;

/**
 * Deletes what the tenants own that an operator has deleted, then those tenants. It does not record how far it came: after
 * an interruption the next run of any scheduler goes on with what is left.
 */
@Injectable()
export class TenantRemovalTask implements PeriodicTask {
  readonly name = 'tenant-removal';
  readonly everyMs: number;
  /** What this process has deleted so far of tenants that are not gone yet. */
  private readonly deleted = new Map<string, AllTenantRows>();

  constructor(
    tasks: PeriodicTasks,
    config: Config,
    private readonly database: Database,
    private readonly purges: TenantPurgeRepository,
    private readonly purge: TenantPurge,
    private readonly audit: AuditRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.everyMs = config.sweepIntervalMs;
    tasks.add(this);
  }

  async run(stopping: AbortSignal): Promise<void> {
    for (const id of await this.purges.doomed()) {
      if (stopping.aborted) return;
      // One that cannot be deleted must not keep the others.
      await this.remove(id, stopping).catch((error: unknown) => {
        this.logger.warn({ err: error, tenant_id: id }, 'tenant_removal.failed');
      });
    }
  }

  private async remove(id: string, stopping: AbortSignal): Promise<void> {
    const rows = this.deleted.get(id) ?? { deliveries: 0, attempts: 0, events: 0, keys: 0, statistics: 0 };
    this.deleted.set(id, rows);
    let toldAt = performance.now();
    const stepped = () => {
      if (performance.now() < toldAt + PROGRESS_MS) return;
      toldAt = performance.now();
      this.logger.info({ tenant_id: id, ...rows }, 'tenant_removal.progress');
    };
    await this.purge.runAll(id, rows, { stopping, stepped });
    if (stopping.aborted || !(await this.removeTenant(id))) return;
    this.deleted.delete(id);
    this.logger.info({ tenant_id: id, ...rows }, 'tenant_removal.finished');
  }

  /** The tenant goes with the entry that says so, or neither does and the next poll tries again. */
  private removeTenant(id: string): Promise<boolean> {
    return this.database.transaction(async (connection) => {
      const isGone = await this.purges.deleteTenant(id, GRACE_SECONDS, connection);
      if (isGone) await this.audit.insertDone('tenant.remove', { tenantId: id, objectId: id }, connection);
      return isGone;
    });
  }
}
