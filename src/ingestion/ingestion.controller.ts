import {
  Controller,
  createParamDecorator,
  ExecutionContext,
  HttpCode,
  HttpStatus,
  Param,
  Post,
  Req,
  Res,
} from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiTags,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CreationSeed } from '../domain/creation-seed.js';
import { invalidRequest } from '../domain/errors.js';
import { HOPS_HEADER, readHops } from '../domain/hops.js';
import { Scope } from '../http/access.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { Audited, NotAudited } from '../http/audit-trail.js';
import { keyOwnerOf, tenantOf } from '../http/auth.guard.js';
import { jsonOf } from '../http/json-body.js';
import { RepeatIsHarmless, Seed } from '../http/idempotency.js';
import { Located } from '../http/located.js';
import { TenantRateLimit } from '../http/rate-limit.js';
import { WithoutTurns } from '../http/tenant-turns.js';
import { UuidParam } from '../http/uuid-param.pipe.js';
import type { KeyOwner } from '../persistence/key-cache.js';
import { eventsIn, type JsonBody } from './incoming-event.js';
import {
  BatchRequest,
  BatchResponse,
  DirectEventRequest,
  EventAcceptedResponse,
  EventRequest,
} from './ingestion.dto.js';
import { type Accepted, IngestionService, type Sender } from './ingestion.service.js';

/** Who hands in, and what. One parameter instead of four: Nest runs its pipes for each (4 µs a request). */
const Submission = createParamDecorator((_: unknown, context: ExecutionContext): Submission => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  return { sender: senderOf(request), body: jsonOf(request) };
});
interface Submission {
  sender: Sender;
  body: JsonBody;
}

/** Of a batch, whose events have a key each: one for all of them would not keep a second batch from being stored. */
const BatchSubmission = createParamDecorator((_: unknown, context: ExecutionContext): BatchSubmission => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  if (request.headers['idempotency-key'] !== undefined) {
    throw invalidRequest([
      {
        path: 'Idempotency-Key',
        message: 'is not for batches; give each event an idempotency_key of its own',
      },
    ]);
  }
  return { sender: senderOf(request), body: jsonOf(request), owner: keyOwnerOf(request) };
});
interface BatchSubmission extends Submission {
  owner: KeyOwner;
}

const KEY_OF_THE_EVENT = 'an event has an idempotency key of its own, which is kept as long as the event';
const KEY_HEADER = {
  name: 'Idempotency-Key',
  required: false,
  description: 'Instead of `idempotency_key`.',
  schema: { type: 'string', minLength: 1, maxLength: 256 },
} as const;
const NO_CHANGE = 'events are what is worked on, each stored itself, and change nothing of how';

@ApiTags('Events')
@Scope('events:write')
@ApiProblems(
  'malformed_json',
  'invalid_request',
  'loop_detected',
  'payload_too_large',
  'unsupported_media_type',
  'overloaded',
  'unavailable',
)
@Controller()
export class IngestionController {
  constructor(
    private readonly ingestion: IngestionService,
    private readonly rateLimit: TenantRateLimit,
  ) {}

  @Post('events')
  @RepeatIsHarmless(KEY_OF_THE_EVENT)
  @Located('events/{id}')
  @NotAudited(NO_CHANGE)
  @WithoutTurns()
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({
    summary: 'Hand in an event',
    description:
      'Answers after the event and a delivery for each matching subscription are committed. The same idempotency ' +
      'key again answers 200 with the first event; with another type or payload, 409.',
  })
  @ApiHeader(KEY_HEADER)
  @ApiBody({ type: EventRequest })
  @ApiAcceptedResponse({ type: EventAcceptedResponse, description: 'New, and durable.' })
  @ApiOkResponse({ type: EventAcceptedResponse, description: 'Known already; its status now.' })
  @ApiProblems('idempotency_conflict')
  async sendEvent(
    @Submission() { sender, body }: Submission,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<EventAcceptedResponse> {
    return answer(await this.ingestion.ingest(sender, body), reply);
  }

  @Post('events/batch')
  @RepeatIsHarmless(KEY_OF_THE_EVENT)
  @NotAudited(NO_CHANGE)
  @WithoutTurns()
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({
    summary: 'Hand in up to 1,000 events',
    description:
      'An answer for each event, in order. A bad one is rejected alone; the others are accepted. Each event has its ' +
      'own `idempotency_key`; the header is refused.',
  })
  @ApiBody({ type: BatchRequest })
  @ApiAcceptedResponse({ type: BatchResponse })
  async sendEventBatch(
    @BatchSubmission() { sender, body, owner }: BatchSubmission,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<BatchResponse> {
    // The guard has charged one, before anybody knew how many there are.
    await this.rateLimit.charge(owner, reply, Math.max(eventsIn(body), 1), 1);
    return BatchResponse.from(await this.ingestion.ingestBatch(sender, body));
  }

  @Post('webhooks/ingest/:subscription_id')
  @RepeatIsHarmless(KEY_OF_THE_EVENT)
  @Located('events/{id}')
  @NotAudited(NO_CHANGE)
  @WithoutTurns()
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({
    summary: 'Hand in an event for one subscription',
    description:
      'Only this subscription gets it, and only if it is active and wants events of this type; `deliveries` tells.',
  })
  @ApiHeader(KEY_HEADER)
  @ApiBody({ type: DirectEventRequest })
  @ApiAcceptedResponse({ type: EventAcceptedResponse })
  @ApiOkResponse({ type: EventAcceptedResponse, description: 'Known already; its status now.' })
  @ApiProblems('not_found', 'idempotency_conflict')
  async sendEventToSubscription(
    @Submission() { sender, body }: Submission,
    @Param('subscription_id', UuidParam) subscriptionId: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<EventAcceptedResponse> {
    return answer(await this.ingestion.ingestFor(sender, subscriptionId, body), reply);
  }

  @Post('subscriptions/:id/test')
  @Audited('subscription.test')
  @Located('events/{id}')
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiTags('Subscriptions')
  @ApiOperation({
    summary: 'Send a test event now',
    description: 'Of type `posthorn.test`, whatever types it wants.',
  })
  @ApiAcceptedResponse({ type: EventAcceptedResponse })
  @ApiProblems('not_found', 'conflict')
  async sendTestEvent(
    @Req() request: FastifyRequest,
    @Param('id', UuidParam) id: string,
    @Seed() seed: CreationSeed,
  ): Promise<EventAcceptedResponse> {
    return EventAcceptedResponse.from(await this.ingestion.sendTest(senderOf(request), id, seed));
  }
}

function senderOf(request: FastifyRequest): Sender {
  const key = request.headers['idempotency-key'];
  return {
    tenantId: tenantOf(request),
    requestId: request.id,
    hops: readHops(request.headers[HOPS_HEADER]),
    idempotencyKey: typeof key === 'string' ? key : undefined,
  };
}

/** 202 for a new event, 200 for one that was known. */
function answer(accepted: Accepted, reply: FastifyReply): EventAcceptedResponse {
  if (accepted.duplicate) void reply.status(HttpStatus.OK);
  return EventAcceptedResponse.from(accepted);
}
