import { CallHandler, ExecutionContext, HttpStatus, Injectable, NestInterceptor } from '@nestjs/common';
import type { FastifyReply } from 'fastify';
import { map, Observable } from 'rxjs';
import type { EventAcceptedResponse } from './ingestion.dto.js';

/** 202 for a new event, 200 for one that was known. */
@Injectable()
export class DuplicateIsOk implements NestInterceptor<EventAcceptedResponse, EventAcceptedResponse> {
  intercept(
    context: ExecutionContext,
    next: CallHandler<EventAcceptedResponse>,
  ): Observable<EventAcceptedResponse> {
    const reply = context.switchToHttp().getResponse<FastifyReply>();
    return next.handle().pipe(
      map((accepted) => {
        if (accepted.duplicate) void reply.status(HttpStatus.OK);
        return accepted;
      }),
    );
  }
}
