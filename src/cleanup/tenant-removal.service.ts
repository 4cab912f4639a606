import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { SchedulerRegistry } from '@nestjs/schedule';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { LOGGER } from '../observability/logger.js';
import { Database } from '../persistence/database.js';
import { AuditRepository } from '../persistence/repositories/audit.repository.js';
import { TenantPurgeRepository } from '../persistence/repositories/tenant-purge.repository.js';
import { type AllTenantRows, TenantPurge } from './tenant-purge.js';

const TASK = 'tenant-removal';

/**
 * The tenant itself stays that long, so that whatever still arrives is found and deleted: an api process that hears
 * nothing may know a key for 60 s more, a request may take 30 s to arrive, and its statement 35 s.
 */
const GRACE_SECONDS = 180;

const PROGRESS_MS = 10_000;

/**
 * Deletes what tenants owned whose deletion was asked for, then those tenants. It keeps no notes of how far it came:
 * whatever interrupts it, the next poll of any scheduler goes on with what is left.
 */
@Injectable()
export class TenantRemovalService implements OnApplicationBootstrap, BeforeApplicationShutdown {
  private polling: Promise<void> | undefined;
  private stopping = false;
  /** What this process has deleted so far of tenants that are not gone yet. */
  private readonly deleted = new Map<string, AllTenantRows>();

  constructor(
    private readonly database: Database,
    private readonly purges: TenantPurgeRepository,
    private readonly purge: TenantPurge,
    private readonly audit: AuditRepository,
    private readonly registry: SchedulerRegistry,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    const timer = setInterval(() => {
      this.polling ??= this.poll()
        .catch((error: unknown) => this.logger.warn({ err: error }, 'tenant_removal.failed'))
        .finally(() => (this.polling = undefined));
    }, this.config.sweepIntervalMs);
    this.registry.addInterval(TASK, timer);
  }

  async beforeApplicationShutdown(): Promise<void> {
    if (this.registry.doesExist('interval', TASK)) this.registry.deleteInterval(TASK);
    this.stopping = true;
    await this.polling;
  }

  private async poll(): Promise<void> {
    await this.database.exclusively(TASK, async () => {
      for (const id of await this.purges.doomed()) {
        if (this.stopping) return;
        // One that cannot be deleted must not keep the others.
        await this.remove(id).catch((error: unknown) => {
          this.logger.warn({ err: error, tenant_id: id }, 'tenant_removal.failed');
        });
      }
    });
  }

  private async remove(id: string): Promise<void> {
    const rows = this.deleted.get(id) ?? { deliveries: 0, attempts: 0, events: 0, keys: 0, statistics: 0 };
    this.deleted.set(id, rows);
    let toldAt = performance.now();
    const stepped = () => {
      if (performance.now() < toldAt + PROGRESS_MS) return;
      toldAt = performance.now();
      this.logger.info({ tenant_id: id, ...rows }, 'tenant_removal.progress');
    };
    await this.purge.runAll(id, rows, { isStopping: () => this.stopping, stepped });
    if (this.stopping || !(await this.removeTenant(id))) return;
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
