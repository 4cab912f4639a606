import { Injectable } from '@nestjs/common';
import { invalidRequest } from '../domain/errors.js';
import type { Caller } from '../http/auth.guard.js';
import { pageResponse, PageQuery } from '../http/paging.dto.js';
import { ReadSide } from '../persistence/read-side.js';
import { AuditEntryResponse, AuditPageResponse, AuditQuery } from './audit.dto.js';

/** Who did what. */
@Injectable()
export class AuditService {
  constructor(private readonly reads: ReadSide) {}

  /** What the caller may see. @throws Problem invalid_request for a tenant that asks about another one */
  async list(caller: Caller, query: AuditQuery): Promise<AuditPageResponse> {
    const { audit } = this.reads.settings;
    const page = PageQuery.toRequest(query);
    const filter = AuditQuery.toFilter(query);
    const tenantId = query.tenant_id?.toLowerCase();
    if (caller.kind === 'tenant') {
      if (tenantId !== undefined && tenantId !== caller.tenantId) throw notForTenants();
      const own = await audit.list(caller.tenantId, page, filter);
      return pageResponse(own, (row) => AuditEntryResponse.forTenant(row));
    }
    const rows =
      tenantId === undefined ? await audit.listAll(page, filter) : await audit.list(tenantId, page, filter);
    return pageResponse(rows, (row) => AuditEntryResponse.from(row));
  }
}

const notForTenants = () =>
  invalidRequest([
    { path: 'tenant_id', message: 'is for an operator key; the key of a tenant sees what is its own anyway' },
  ]);
