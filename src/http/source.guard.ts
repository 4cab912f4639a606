import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { notFound, Problem } from '../domain/errors.js';
import { isUuid } from '../domain/uuid-v7.js';
import { maxBodyBytes } from '../domain/providers/judge.js';
import { Source, SourceCache } from '../persistence/source-cache.js';
import type { SourceName } from './access.js';
import { TenantRateLimit } from './rate-limit.js';
import { headOf } from './received.js';
import { SourceVerifier } from './source-verifier.js';

type Found = Source | undefined;

/**
 * Looks before a byte of the body is read whether the source is there and open, and whether the head can be that of a
 * signed request. Who calls is not known then: the signature is over the body, so the route verifies it.
 */
@Injectable()
export class SourceGuard {
  constructor(
    private readonly sources: SourceCache,
    private readonly rateLimit: TenantRateLimit,
    private readonly verifier: SourceVerifier,
  ) {}

  /**
   * Needs no query, and no promise, for a source that was asked for lately.
   * @throws Problem not_found, signature_invalid, tenant_suspended, ip_not_allowed, rate_limited; some by rejecting
   */
  check(request: FastifyRequest, namedBy: SourceName): void | Promise<void> {
    const found = namedBy === 'path' ? this.inPath(request) : this.ofTenant(request);
    return found instanceof Promise
      ? found.then((source) => this.admit(request, source))
      : this.admit(request, found);
  }

  /**
   * The source of a request as it is when its body has come, which may take a minute: what was revoked meanwhile holds
   * no more. The body is charged now, and not by its announced length: who announces much and sends nothing would empty
   * the bucket for nothing.
   * @throws Problem not_found, signature_invalid, tenant_suspended, rate_limited
   */
  async admitBody({ id, provider }: Source, bytes: number): Promise<Source> {
    const absent = (): Problem => (provider === 'posthorn' ? unsigned() : notFound('source', id));
    const source = await present(this.sources.find(id), absent);
    requireOpenTenant(source);
    await this.rateLimit.chargeSourceBody(source, bytes);
    return source;
  }

  private inPath({ params }: FastifyRequest): Source | Promise<Source> {
    const { source_id: id } = params as { source_id: string };
    if (!isUuid(id)) throw notFound('source', JSON.stringify(String(id).slice(0, 64)));
    return present(this.sources.find(id.toLowerCase()), () => notFound('source', id));
  }

  private ofTenant({ headers }: FastifyRequest): Source | Promise<Source> {
    const { 'x-tenant-id': tenantId } = headers;
    const found = isUuid(tenantId) ? this.sources.findIngestSource(tenantId.toLowerCase()) : undefined;
    return present(found, unsigned);
  }

  private admit(request: FastifyRequest, source: Source): void | Promise<void> {
    const head = headOf(request);
    request.caller = {
      kind: 'source',
      tenantId: source.tenantId,
      source,
      maxBodyBytes: maxBodyBytes(head, source),
    };
    requireOpenTenant(source);
    if (source.allowedIps?.has(request.ip) === false) {
      throw new Problem('ip_not_allowed', `This source may not be used from ${request.ip}.`);
    }
    const verifyHead = (): void => this.verifier.verifyHead(source, head, request.id);
    // What is refused costs as well.
    const charged = this.rateLimit.chargeSource(source);
    if (charged instanceof Promise) return charged.then(verifyHead);
    verifyHead();
  }
}

function requireOpenTenant({ isTenantSuspended }: Source): void {
  if (!isTenantSuspended) return;
  throw new Problem('tenant_suspended', 'The tenant of this source is suspended: nothing is accepted.');
}

/** The same for a source that is switched off as for one that never was. */
function present(found: Found | Promise<Found>, absent: () => Problem): Source | Promise<Source> {
  if (found instanceof Promise) return found.then((source) => presentNow(source, absent));
  return presentNow(found, absent);
}

function presentNow(source: Found, absent: () => Problem): Source {
  if (source?.isActive) return source;
  throw absent();
}

/** The same whether the tenant is unknown, has no such source, or was not named. */
const unsigned = (): Problem =>
  new Problem(
    'signature_invalid',
    'Make a source of the provider posthorn (POST /sources), and send the tenant as X-Tenant-ID, the time ' +
      'in seconds as X-Webhook-Timestamp, and sha256= with the hex HMAC-SHA256 of the time, a dot and the body, keyed with ' +
      "that source's secret, as X-Webhook-Signature.",
  );
