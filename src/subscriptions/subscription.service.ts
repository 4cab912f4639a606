import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Config } from '../config/config.js';
import { systemClock } from '../domain/clock.js';
import type { CreationSeed } from '../domain/creation-seed.js';
import { SealedSecret, UndecryptableSecret } from '../domain/encryption.js';
import { invalidRequest, notFound, Problem } from '../domain/errors.js';
import { generateSecret } from '../domain/signing-secret.js';
import { parseTargetUrl } from '../domain/target-url.js';
import { PageQuery, pageResponse } from '../http/paging.dto.js';
import { LOGGER } from '../observability/logger.js';
import { SubscriptionEntity, UnsealedSubscription } from '../persistence/entities/subscription.entity.js';
import { ReadSide } from '../persistence/read-side.js';
import { type Permit, SubscriptionRepository } from '../persistence/repositories/subscription.repository.js';
import { previousSecretsOf } from '../persistence/row-secrets.js';
import { tooManySecrets } from '../persistence/secret-rotation.js';
import { SubscriptionCache } from '../persistence/subscription-cache.js';
import { LaneScheduler } from '../queue/lane-scheduler.js';
import { defaultColumns, givenColumns, replacedSecret, unverifiedTarget } from './subscription-columns.js';
import {
  ChangedSubscriptionResponse,
  PreviousSecretResponse,
  SecretResponse,
  Shown,
  SubscriptionResponse,
  SubscriptionWithSecretResponse,
} from './subscription-response.dto.js';
import { checkSubscription, secretErrors } from './subscription-rules.js';
import {
  GivenFields,
  RotateSecretDto,
  SubscriptionDto,
  SubscriptionPatchDto,
  SubscriptionQuery,
} from './subscription.dto.js';

/** Different event types with a `*`, in all subscriptions of a tenant. */
const MAX_PATTERNS = 2_000;
/** Tries to change a target while other requests change it. */
const MAX_MOVES = 5;

/** A tenant's subscriptions. Each method that takes an id throws Problem not_found when it is not the tenant's. */
@Injectable()
export class SubscriptionService {
  constructor(
    private readonly subscriptions: SubscriptionRepository,
    private readonly reads: ReadSide,
    private readonly cache: SubscriptionCache,
    private readonly lanes: LaneScheduler,
    private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @throws Problem invalid_request naming every field at fault */
  async create(
    tenantId: string,
    fields: SubscriptionDto,
    seed: CreationSeed,
  ): Promise<SubscriptionWithSecretResponse> {
    const secret = fields.secret ?? generateSecret(seed.bytes('secret'));
    const made = seed.mayExist ? await this.subscriptions.find(tenantId, seed.id()) : null;
    if (made) return new SubscriptionWithSecretResponse(made, secret);
    checkSubscription(fields, this.config);
    const now = new Date(seed.createdAtMs);
    const subscription: UnsealedSubscription = {
      ...defaultColumns(),
      ...replacedSecret(secret),
      targetUrl: fields.target_url,
      targetHost: null,
      ...this.columnsOf(fields),
      ...unverifiedTarget(this.config.requiresVerification, now),
      id: seed.id(),
      tenantId,
      createdAt: now,
      updatedAt: now,
    };
    const stored = await this.subscriptions.insert(subscription, this.permitOf(fields, true));
    this.cache.forget(tenantId);
    // A worker asks its target.
    if (this.config.requiresVerification) await this.lanes.wake([stored.id]);
    return new SubscriptionWithSecretResponse(stored, subscription.secret);
  }

  /** Newest first. */
  async list(tenantId: string, query: SubscriptionQuery, shown: Shown) {
    const isActive = query.is_active === undefined ? null : query.is_active === 'true';
    const request = { ...PageQuery.toRequest(query), isActive };
    const page = await this.reads.settings.subscriptions.list(tenantId, request);
    return pageResponse(page, (row) => SubscriptionResponse.from(row, shown));
  }

  async get(tenantId: string, id: string, shown: Shown): Promise<SubscriptionResponse> {
    return SubscriptionResponse.from(await this.find(tenantId, id, this.reads.settings.subscriptions), shown);
  }

  /**
   * Puts a subscription in the place of the old one: what is left out goes back to its default, but for the secret.
   * @throws Problem invalid_request
   */
  async replace(tenantId: string, id: string, fields: SubscriptionDto): Promise<ChangedSubscriptionResponse> {
    checkSubscription(fields, this.config);
    return this.change(tenantId, id, { ...defaultColumns(), ...this.columnsOf(fields) }, fields);
  }

  /**
   * Changes the given fields and no other, so that concurrent changes of different fields both hold.
   * @throws Problem invalid_request
   */
  async patch(
    tenantId: string,
    id: string,
    fields: SubscriptionPatchDto,
  ): Promise<ChangedSubscriptionResponse> {
    checkSubscription(fields, this.config);
    return this.change(tenantId, id, this.columnsOf(fields), fields);
  }

  /** Its open deliveries are dead-lettered by the engine, which learns of it soon after this resolves. */
  async delete(tenantId: string, id: string): Promise<void> {
    if (!(await this.subscriptions.delete(tenantId, id))) throw notFound('subscription', id);
    this.cache.forget(tenantId);
    void this.endDeliveries(tenantId, id);
  }

  /** @throws Problem secret_unreadable */
  async getSecret(tenantId: string, id: string): Promise<SecretResponse> {
    const row = await this.find(tenantId, id);
    const previous = previousSecretsOf(row, systemClock.now()).map(({ secret, untilMs }) =>
      PreviousSecretResponse.from(this.reveal(secret, row), new Date(untilMs)),
    );
    return new SecretResponse(this.reveal(row.secret, row), previous);
  }

  /**
   * Gives it a new secret, beside which the old one signs for `overlap_seconds`, and those before it until their ends.
   * @throws Problem invalid_request for a secret that cannot be used, secret_unreadable when the old one cannot sign,
   *   conflict when too many sign already
   */
  async rotateSecret(
    tenantId: string,
    id: string,
    { secret: given, overlap_seconds }: RotateSecretDto,
    seed: CreationSeed,
  ): Promise<SubscriptionWithSecretResponse> {
    const secret = given ?? generateSecret(seed.bytes('secret'));
    const errors = secretErrors(secret);
    if (errors.length > 0) throw invalidRequest(errors);
    if (!(await this.putSecret(tenantId, id, secret, overlap_seconds))) throw notFound('subscription', id);
    this.cache.forget(tenantId);
    return new SubscriptionWithSecretResponse(await this.find(tenantId, id), secret);
  }

  /** Nothing stays of the old secret where it does not sign: it may be one that cannot be decrypted. */
  private async putSecret(
    tenantId: string,
    id: string,
    secret: string,
    overlapSeconds: number,
  ): Promise<boolean> {
    if (overlapSeconds === 0) return this.subscriptions.update(tenantId, id, replacedSecret(secret));
    const old = await this.find(tenantId, id);
    // Given again, as after an answer that was lost: the one before goes on signing.
    if (this.reveal(old.secret, old) === secret) return true;
    const now = systemClock.now();
    const overlap = { now: new Date(now), previousUntil: new Date(now + overlapSeconds * 1000) };
    if (await this.subscriptions.rotateSecret(tenantId, id, secret, overlap)) return true;
    throw tooManySecrets(await this.find(tenantId, id), now);
  }

  private reveal(stored: SealedSecret, row: SubscriptionEntity): string {
    try {
      return this.subscriptions.reveal(stored, row);
    } catch (error) {
      if (!(error instanceof UndecryptableSecret)) throw error;
      const { id, tenantId } = row;
      this.logger.error({ err: error, tenant_id: tenantId, subscription_id: id }, 'secret.unreadable');
      throw new Problem(
        'secret_unreadable',
        'The secret of this subscription cannot be decrypted; the log of the service says why. If a key is missing, ' +
          'the operator of the service can add it to ENCRYPTION_KEY. To do without the secret, set a new one: PATCH ' +
          'with "secret", or rotate-secret with "overlap_seconds": 0.',
      );
    }
  }

  private async find(
    tenantId: string,
    id: string,
    subscriptions: Pick<SubscriptionRepository, 'find'> = this.subscriptions,
  ): Promise<SubscriptionEntity> {
    const subscription = await subscriptions.find(tenantId, id);
    if (!subscription) throw notFound('subscription', id);
    return subscription;
  }

  /**
   * Every event is compared with all patterns of its tenant, all its subscriptions are kept in memory, and each of
   * those to one host is another request there.
   * @returns what throws Problem conflict
   */
  private permitOf({ event_types }: GivenFields, isNew: boolean): Permit {
    const hasPatterns = event_types?.some((pattern) => String(pattern).includes('*')) ?? false;
    const { tenantMaxSubscriptions, tenantMaxSubscriptionsPerHost } = this.config;
    return (others) => {
      if (isNew && others.subscriptions >= tenantMaxSubscriptions) {
        throw new Problem(
          'conflict',
          `This tenant has ${others.subscriptions} subscriptions, and may have ${tenantMaxSubscriptions}. Delete what is ` +
            'not used, or ask the operator of the service (TENANT_MAX_SUBSCRIPTIONS).',
        );
      }
      if (others.sameHost >= tenantMaxSubscriptionsPerHost) {
        throw new Problem(
          'conflict',
          `This tenant has ${others.sameHost} subscriptions to the host of this target_url, and may have ` +
            `${tenantMaxSubscriptionsPerHost}, whatever their port, path and query. Add event types to one of them and ` +
            'distribute the events there, delete what is not used, or ask the operator of the service ' +
            '(TENANT_MAX_SUBSCRIPTIONS_PER_HOST).',
        );
      }
      if (hasPatterns && others.patterns >= MAX_PATTERNS) {
        throw new Problem(
          'conflict',
          `The other subscriptions of this tenant have ${others.patterns} different event types with a *, and may have ` +
            `${MAX_PATTERNS}. Use plain event types, or the same patterns.`,
        );
      }
    };
  }

  private columnsOf(fields: GivenFields): Partial<UnsealedSubscription> {
    const { target_url } = fields;
    if (target_url === undefined) return givenColumns(fields);
    return {
      ...givenColumns(fields),
      targetHost: this.config.addressRules.hostOf(parseTargetUrl(target_url)),
    };
  }

  private async change(
    tenantId: string,
    id: string,
    columns: Partial<UnsealedSubscription>,
    fields: GivenFields,
  ): Promise<ChangedSubscriptionResponse> {
    const isCounted = columns.targetUrl !== undefined || columns.eventTypes !== undefined;
    const permit = isCounted ? this.permitOf(fields, false) : undefined;
    if (columns.targetUrl !== undefined) {
      await this.move(tenantId, id, { ...columns, targetUrl: columns.targetUrl }, permit);
    } else if (!(await this.subscriptions.update(tenantId, id, columns, { permit }))) {
      throw notFound('subscription', id);
    }
    this.cache.forget(tenantId);
    // What had to wait under the old rules may be due under the new ones.
    await this.lanes.wake([id]);
    return new ChangedSubscriptionResponse(await this.find(tenantId, id), fields.secret);
  }

  /**
   * Another target has to be asked anew, also where only its path is another, and also while no target is asked, or a
   * later start with TARGET_VERIFICATION=required would take it for verified. What it was verified for is compared in the
   * statement that changes it: a change at the same time must not leave a new target with the old one's verification.
   */
  private async move(
    tenantId: string,
    id: string,
    columns: Partial<UnsealedSubscription> & { targetUrl: string },
    permit: Permit | undefined,
  ): Promise<void> {
    const { requiresVerification } = this.config;
    for (let tries = 0; tries < MAX_MOVES; tries++) {
      const { targetUrl: before } = await this.find(tenantId, id);
      const isSame = before === columns.targetUrl;
      const changes = isSame
        ? columns
        : { ...columns, ...unverifiedTarget(requiresVerification, new Date(systemClock.now())) };
      if (await this.subscriptions.update(tenantId, id, changes, { targetUrl: before, permit })) return;
    }
    throw new Problem('conflict', 'The target_url of this subscription is being changed by other requests.');
  }

  /** In the background. Deliveries that this does not reach come to the engine at their own time. */
  private async endDeliveries(tenantId: string, subscriptionId: string): Promise<void> {
    try {
      do {
        await this.lanes.wake([subscriptionId]);
      } while (await this.subscriptions.expedite(tenantId, subscriptionId));
    } catch (error) {
      this.logger.warn({ err: error, subscription_id: subscriptionId }, 'subscription.expedite_failed');
    }
  }
}
