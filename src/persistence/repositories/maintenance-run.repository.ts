import { Injectable } from '@nestjs/common';
import { Database } from '../database.js';

/** When each periodic task began last, in any process. */
@Injectable()
export class MaintenanceRunRepository {
  constructor(private readonly database: Database) {}

  /**
   * Claims the next run of a task for this process.
   * @returns false when any process began one less than `everyMs` ago
   */
  async begin(task: string, everyMs: number): Promise<boolean> {
    const rows = await this.database.run(
      `insert into maintenance_run as run (task, started_at) values ($1, now())
       on conflict (task) do update set started_at = now()
       where run.started_at <= now() - make_interval(secs => $2) returning task`,
      [task, everyMs / 1000],
    );
    return rows.length === 1;
  }
}
