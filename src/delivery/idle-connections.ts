import type { Connection } from './connection.js';

/** Connections that wait for their next request, in this process and of one tenant. */
export const MAX_IDLE_CONNECTIONS = 1_024;
export const MAX_IDLE_OF_A_TENANT = 256;

/** All idle connections of the process, the one that has waited longest first. Beyond a bound it is closed. */
export class IdleConnections {
  private readonly all = new Set<Connection>();
  private readonly byTenant = new Map<string, Set<Connection>>();

  add(connection: Connection): void {
    const ofTenant = this.byTenant.get(connection.tenantId);
    if (ofTenant === undefined) this.byTenant.set(connection.tenantId, new Set([connection]));
    else ofTenant.add(connection);
    this.all.add(connection);
    if (ofTenant !== undefined && ofTenant.size > MAX_IDLE_OF_A_TENANT) closeFirst(ofTenant);
    if (this.all.size > MAX_IDLE_CONNECTIONS) closeFirst(this.all);
  }

  delete(connection: Connection): void {
    if (!this.all.delete(connection)) return;
    const ofTenant = this.byTenant.get(connection.tenantId);
    ofTenant?.delete(connection);
    if (ofTenant?.size === 0) this.byTenant.delete(connection.tenantId);
  }

  closeExpired(now: number): void {
    for (const connection of this.all) if (connection.expiresAt <= now) connection.close();
  }
}

/** Its owner then takes it out of here. */
function closeFirst(connections: ReadonlySet<Connection>): void {
  for (const connection of connections) {
    connection.close();
    return;
  }
}
