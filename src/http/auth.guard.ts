import { createHash, timingSafeEqual } from 'node:crypto';
import { CanActivate, createParamDecorator, ExecutionContext, Injectable, SetMetadata } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyRequest } from 'fastify';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { KeyCache } from '../persistence/key-cache.js';

type Access = 'tenant' | 'admin' | 'public';
const ACCESS = 'access';

/** A route that needs no key: health, metrics, docs. */
export const Public = () => SetMetadata(ACCESS, 'public' satisfies Access);

/** A route for the admin key alone. */
export const AdminOnly = () => SetMetadata(ACCESS, 'admin' satisfies Access);

interface AuthenticatedRequest extends FastifyRequest {
  tenantId?: string;
}

/** The id of the tenant whose key was presented. */
export const TenantId = createParamDecorator((_: unknown, context: ExecutionContext): string => {
  const { tenantId } = context.switchToHttp().getRequest<AuthenticatedRequest>();
  if (tenantId === undefined) throw new Error('A route without a tenant asked for one');
  return tenantId;
});

/** Guards every route: unless marked otherwise, it wants a tenant's key (Bearer token or X-API-Key). */
@Injectable()
export class AuthGuard implements CanActivate {
  private readonly adminHash: Buffer | null;

  constructor(
    private readonly reflector: Reflector,
    private readonly keys: KeyCache,
    config: Config,
  ) {
    this.adminHash = config.adminApiKey === null ? null : sha256(config.adminApiKey);
  }

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const access =
      this.reflector.getAllAndOverride<Access | undefined>(ACCESS, [
        context.getHandler(),
        context.getClass(),
      ]) ?? 'tenant';
    if (access === 'public') return true;
    const request = context.switchToHttp().getRequest<AuthenticatedRequest>();
    if (access === 'admin') {
      this.requireAdmin(request);
    } else {
      request.tenantId = await this.requireTenant(request);
    }
    return true;
  }

  private requireAdmin(request: FastifyRequest): void {
    if (this.adminHash === null) {
      throw new Problem(
        'admin_key_not_configured',
        'Set ADMIN_API_KEY in the configuration of the service to manage tenants.',
      );
    }
    if (!timingSafeEqual(sha256(presentedKey(request)), this.adminHash)) {
      throw new Problem('forbidden', 'Only the admin key may do this.');
    }
  }

  private async requireTenant(request: FastifyRequest): Promise<string> {
    const hash = sha256(presentedKey(request));
    const owner = await this.keys.owner(hash);
    if (owner) return owner.tenantId;
    if (this.adminHash && timingSafeEqual(hash, this.adminHash)) {
      throw new Problem('forbidden', "The admin key manages tenants only; use a tenant's API key here.");
    }
    throw new Problem('unauthorized', 'This API key is not known. It may have been deleted or mistyped.');
  }
}

function presentedKey(request: FastifyRequest): string {
  const { authorization, 'x-api-key': apiKey } = request.headers;
  const key = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? apiKey;
  if (typeof key === 'string' && key !== '') return key;
  throw new Problem('unauthorized', 'Send "Authorization: Bearer KEY" or "X-API-Key: KEY".');
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
