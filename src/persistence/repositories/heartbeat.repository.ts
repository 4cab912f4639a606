import { Injectable } from '@nestjs/common';
import { Database } from '../database.js';

/** Signs of life of the processes, for health checks across machines. */
@Injectable()
export class HeartbeatRepository {
  constructor(private readonly database: Database) {}

  async beat(processId: string, role: string, host: string): Promise<void> {
    await this.database.run(
      `insert into heartbeat (process_id, role, host, seen_at) values ($1, $2, $3, now())
       on conflict (process_id) do update set seen_at = now()`,
      [processId, role, host],
    );
  }

  async remove(processId: string): Promise<void> {
    await this.database.run('delete from heartbeat where process_id = $1', [processId]);
  }

  /** How many processes of these roles gave a sign of life within the last `seconds`. */
  async countAlive(roles: string[], seconds: number): Promise<number> {
    const [row] = await this.database.run<{ count: number }>(
      `select count(*)::int as count from heartbeat
       where role = any ($1) and seen_at > now() - make_interval(secs => $2)`,
      [roles, seconds],
    );
    return row?.count ?? 0;
  }

  /** Forgets processes that were killed. */
  async removeOlderThan(seconds: number): Promise<void> {
    await this.database.run('delete from heartbeat where seen_at < now() - make_interval(secs => $1)', [
      seconds,
    ]);
  }
}
