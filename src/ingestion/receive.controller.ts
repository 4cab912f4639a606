import {
  Controller,
  createParamDecorator,
  ExecutionContext,
  HttpCode,
  HttpStatus,
  Post,
  Res,
} from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiBody,
  ApiConsumes,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { ReceivedRequest } from '../domain/providers/judge.js';
import { SourceDoor } from '../http/access.js';
import { ANY_JSON } from '../http/any-json.js';
import { ApiProblems } from '../http/openapi/api-problems.js';
import { NotAudited } from '../http/audit-trail.js';
import { sourceOf } from '../http/auth.guard.js';
import { RawBody } from '../http/json-body.js';
import { receivedOf } from '../http/received.js';
import type { Source } from '../persistence/source-cache.js';
import { EventAcceptedResponse } from './ingestion.dto.js';
import { type Challenge, ReceiveService } from './receive.service.js';
import type { Accepted } from './ingestion.service.js';

/** What came to which source. */
const Arrival = createParamDecorator((_: unknown, context: ExecutionContext): Arrival => {
  const request = context.switchToHttp().getRequest<FastifyRequest>();
  return { source: sourceOf(request), received: receivedOf(request), requestId: request.id };
});
interface Arrival {
  source: Source;
  received: ReceivedRequest;
  requestId: string;
}

const NO_CHANGE = 'webhooks are what is worked on, each stored itself, and change nothing of how';

@ApiTags('Receiving')
@NotAudited(NO_CHANGE)
@RawBody()
@ApiProblems('loop_detected', 'payload_too_large', 'unsupported_media_type', 'overloaded', 'unavailable')
@Controller('webhooks')
export class ReceiveController {
  constructor(private readonly receiving: ReceiveService) {}

  @Post('receive/:source_id')
  @SourceDoor('path')
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({
    summary: 'Receive a webhook of a third party',
    description:
      'The address to give to the provider of a source, which signs instead of having a key. Takes a body of any ' +
      'content type; subscribers get its very bytes. Each 16 KiB of it that are begun count as a request. Answers after the event and a delivery for each matching ' +
      'subscription are committed. The same delivery again is answered 200.',
  })
  @ApiParam({ name: 'source_id' })
  // Any content type is taken; one that client generators know is named.
  @ApiConsumes('application/octet-stream')
  @ApiBody({
    description: 'Whatever the provider sends.',
    required: false,
    schema: { type: 'string', format: 'binary' },
  })
  @ApiAcceptedResponse({ type: EventAcceptedResponse, description: 'New, and durable.' })
  @ApiOkResponse({
    description: 'Known already; its status now. To the challenge of a provider: what that wants to hear.',
    content: {
      'application/json': { schema: { $ref: getSchemaPath(EventAcceptedResponse) } },
      'text/plain': { schema: { type: 'string' } },
    },
  })
  async receiveWebhook(
    @Arrival() { source, received, requestId }: Arrival,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<EventAcceptedResponse | string> {
    return answer(await this.receiving.receive(source, received, requestId), reply);
  }

  @Post('ingest')
  @SourceDoor('X-Tenant-ID')
  @HttpCode(HttpStatus.ACCEPTED)
  @ApiOperation({
    summary: 'Hand in a signed event, without an API key',
    description:
      "For the tenant's source of the provider `posthorn`. The whole body is the payload, byte for byte. Its " +
      '`event_type`, else `type`, else `event` is the event type, else `webhook`; its `idempotency_key` is that of ' +
      'the event, else the `webhook-id` of Standard Webhooks. The header `Idempotency-Key`, which nothing signs, is ' +
      'refused where neither is there.',
  })
  @ApiHeader({
    name: 'X-Tenant-ID',
    required: true,
    description: 'The id of the tenant.',
    schema: { type: 'string', format: 'uuid' },
  })
  @ApiHeader({
    name: 'X-Webhook-Signature',
    required: false,
    description:
      "`sha256=` and the hex HMAC-SHA256 of the time, a dot and the body, keyed with the source's secret; of the body " +
      'alone where the source has `signed`: `body`. Or the three headers of Standard Webhooks in its place.',
  })
  @ApiHeader({
    name: 'X-Webhook-Timestamp',
    required: false,
    description: 'The time that is signed, in seconds since 1970.',
  })
  @ApiBody({
    schema: {
      ...ANY_JSON,
      example: { event_type: 'order.paid', idempotency_key: 'order-42-paid', order: 42 },
    },
  })
  @ApiAcceptedResponse({ type: EventAcceptedResponse, description: 'New, and durable.' })
  @ApiOkResponse({ type: EventAcceptedResponse, description: 'Known already; its status now.' })
  @ApiProblems('malformed_json', 'invalid_request', 'idempotency_conflict')
  async sendSignedEvent(
    @Arrival() { source, received, requestId }: Arrival,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<EventAcceptedResponse | string> {
    return answer(await this.receiving.receive(source, received, requestId), reply);
  }
}

/** 202 for a new event, 200 for one that was known, and for a challenge what the provider wants to hear. */
function answer(received: Accepted | Challenge, reply: FastifyReply): EventAcceptedResponse | string {
  if ('kind' in received) {
    void reply.status(HttpStatus.OK).type(received.contentType);
    return received.body;
  }
  if (received.duplicate) void reply.status(HttpStatus.OK);
  return EventAcceptedResponse.from(received);
}
