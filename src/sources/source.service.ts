import { Injectable } from '@nestjs/common';
import { Config } from '../config/config.js';
import { rangeErrors } from '../domain/address-ranges.js';
import { systemClock } from '../domain/clock.js';
import type { CreationSeed } from '../domain/creation-seed.js';
import { FieldError, invalidRequest, notFound, Problem } from '../domain/errors.js';
import type { ProviderName } from '../domain/providers/provider-names.js';
import { generateSourceSecret, sourceSecretError } from '../domain/providers/source-secret.js';
import { settingsErrors } from '../domain/providers/source-settings.js';
import { PageQuery, pageResponse } from '../http/paging.dto.js';
import { SourceEntity } from '../persistence/entities/source.entity.js';
import { ReadSide } from '../persistence/read-side.js';
import { SourceRepository } from '../persistence/repositories/source.repository.js';
import { tooManySecrets } from '../persistence/secret-rotation.js';
import { SourceCache } from '../persistence/source-cache.js';
import { SourcePageResponse, SourceResponse, SourceWithSecretResponse } from './source-response.dto.js';
import { CreateSourceDto, RotateSourceSecretDto, SourceFieldsDto, SourcePatchDto } from './source.dto.js';

/** Of a tenant. */
const MAX_SOURCES = 100;

/** A tenant's sources. Each method that takes an id throws Problem not_found when it is not the tenant's. */
@Injectable()
export class SourceService {
  constructor(
    private readonly sources: SourceRepository,
    private readonly reads: ReadSide,
    private readonly cache: SourceCache,
    private readonly config: Config,
  ) {}

  /** @throws Problem invalid_request naming every field at fault; conflict when there is one more than may be */
  async create(
    tenantId: string,
    fields: CreateSourceDto,
    seed: CreationSeed,
  ): Promise<SourceWithSecretResponse> {
    const { provider } = fields;
    const errors = this.fieldErrors(provider, { settings: {}, ...fields });
    const secret = this.secretFor(provider, fields.secret, seed, errors);
    const made = seed.mayExist ? await this.sources.find(tenantId, seed.id()) : null;
    if (made) return this.withSecret(made, secret);
    await this.requireRoom(tenantId);
    const now = new Date(seed.createdAtMs);
    const stored = await this.sources.insert({
      ...DEFAULTS,
      ...columnsOf(fields),
      id: seed.id(),
      tenantId,
      name: fields.name,
      provider,
      secret,
      previousSecret: null,
      previousSecretExpiresAt: null,
      olderSecrets: [],
      createdAt: now,
      updatedAt: now,
    });
    if (stored === null) {
      throw new Problem(
        'conflict',
        'This tenant has a source of the provider posthorn already: POST /webhooks/ingest names no other. Rotate its ' +
          'secret, or delete it first.',
      );
    }
    this.cache.forget(tenantId);
    return this.withSecret(stored, secret);
  }

  /** Newest first. */
  async list(tenantId: string, query: PageQuery): Promise<SourcePageResponse> {
    const page = await this.reads.settings.sources.list(tenantId, PageQuery.toRequest(query));
    return pageResponse(page, (row) => this.response(row));
  }

  async get(tenantId: string, id: string): Promise<SourceResponse> {
    return this.response(await this.find(tenantId, id, this.reads.settings.sources));
  }

  /** Changes the given fields and no other. @throws Problem invalid_request */
  async patch(tenantId: string, id: string, fields: SourcePatchDto): Promise<SourceResponse> {
    const { provider } = await this.find(tenantId, id);
    const errors = this.fieldErrors(provider, fields);
    if (errors.length > 0) throw invalidRequest(errors);
    if (!(await this.sources.update(tenantId, id, columnsOf(fields)))) throw notFound('source', id);
    this.cache.forget(tenantId);
    return this.response(await this.find(tenantId, id));
  }

  /** Its address leads nowhere from a moment later on. What came through it stays. */
  async delete(tenantId: string, id: string): Promise<void> {
    if (!(await this.sources.delete(tenantId, id))) throw notFound('source', id);
    this.cache.forget(tenantId);
  }

  /**
   * Gives it a new secret, beside which the old one verifies for `overlap_seconds`, and those before it until their
   * ends. The present one given again, as after an answer that was lost, leaves those before as they are.
   * @throws Problem invalid_request for a secret that cannot be used, or is missing; conflict when too many verify
   */
  async rotateSecret(
    tenantId: string,
    id: string,
    { secret: given, overlap_seconds }: RotateSourceSecretDto,
    seed: CreationSeed,
  ): Promise<SourceWithSecretResponse> {
    const source = await this.find(tenantId, id);
    const secret = this.secretFor(source.provider, given, seed);
    const present = this.sources.presentSecret(source);
    if (overlap_seconds > 0 && present === secret) return this.withSecret(source, secret);
    const now = systemClock.now();
    // One that cannot be decrypted verifies nothing, and would fail what the new one verifies.
    const overlaps = overlap_seconds > 0 && present !== null;
    const overlap = { now: new Date(now), previousUntil: new Date(now + overlap_seconds * 1000) };
    const isDone = overlaps
      ? await this.sources.rotateSecret(tenantId, id, secret, overlap)
      : await this.sources.replaceSecret(tenantId, id, secret, new Date(now));
    if (!isDone) throw tooManySecrets(await this.find(tenantId, id), now);
    this.cache.forget(tenantId);
    return this.withSecret(await this.find(tenantId, id), secret);
  }

  private async find(
    tenantId: string,
    id: string,
    sources: Pick<SourceRepository, 'find'> = this.sources,
  ): Promise<SourceEntity> {
    const source = await sources.find(tenantId, id);
    if (!source) throw notFound('source', id);
    return source;
  }

  /** @throws Problem conflict */
  private async requireRoom(tenantId: string): Promise<void> {
    const count = await this.sources.countOf(tenantId);
    if (count < MAX_SOURCES) return;
    throw new Problem(
      'conflict',
      `This tenant has ${count} sources, and may have ${MAX_SOURCES}. Delete what is not used.`,
    );
  }

  /** Checks what the types of a request cannot say. */
  private fieldErrors(provider: ProviderName, { settings, allowed_ips }: SourceFieldsDto): FieldError[] {
    return [
      ...(settings === undefined ? [] : settingsErrors(provider, settings, this.config.publicUrl)),
      ...rangeErrors('allowed_ips', allowed_ips ?? []),
    ];
  }

  /**
   * @param errors what is wrong beside it
   * @returns the given one, or a new one
   * @throws Problem invalid_request
   */
  private secretFor(
    provider: ProviderName,
    given: string | undefined,
    seed: CreationSeed,
    errors: FieldError[] = [],
  ): string {
    const message = sourceSecretError(provider, given);
    const all = message === null ? errors : [...errors, { path: 'secret', message }];
    const secret = given ?? generateSourceSecret(provider, seed.bytes('secret'));
    if (all.length > 0 || secret === null) throw invalidRequest(all);
    return secret;
  }

  private response(row: SourceEntity): SourceResponse {
    return new SourceResponse(row, this.config.publicUrl, systemClock.now());
  }

  private withSecret(row: SourceEntity, secret: string): SourceWithSecretResponse {
    return new SourceWithSecretResponse(row, this.config.publicUrl, systemClock.now(), secret);
  }
}

/** What a source has where the request says nothing. */
const DEFAULTS = { settings: {}, isActive: true, allowedIps: [], description: null };

/** The columns that a checked request gives; what it leaves out is not among them. */
function columnsOf(fields: SourcePatchDto): Partial<Omit<SourceEntity, 'secret' | 'previousSecret'>> {
  const columns = {
    name: fields.name,
    settings: fields.settings,
    isActive: fields.is_active,
    allowedIps: fields.allowed_ips,
    description: fields.description,
  };
  return Object.fromEntries(Object.entries(columns).filter(([, value]) => value !== undefined));
}
