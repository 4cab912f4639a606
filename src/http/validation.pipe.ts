import { ArgumentMetadata, SetMetadata, ValidationPipe } from '@nestjs/common';
import { ValidationError } from 'class-validator';
import { FieldError, invalidRequest, Problem } from '../domain/errors.js';

const OPTIONAL_BODY = 'optionalBody';

/** A DTO that a request without any body stands for as well, as if it were `{}`. */
export const OptionalBody = (): ClassDecorator => SetMetadata(OPTIONAL_BODY, true);

class DtoPipe extends ValidationPipe {
  override transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // What a decorator of ours took from the request, checked there.
    if (metadata.type === 'custom') return Promise.resolve(value);
    // The base class lets null, and an absent body, stand for an empty one.
    const mayBeAbsent = metadata.metatype && Reflect.hasMetadata(OPTIONAL_BODY, metadata.metatype);
    const isAbsent = value === undefined && mayBeAbsent;
    if (!isAbsent && (metadata.type === 'body' || metadata.type === 'query')) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw invalidRequest([{ path: 'body', message: 'must be a JSON object' }]);
      }
      const errors = droppedFields(value, '');
      if (errors.length > 0) throw invalidRequest(errors);
    }
    return super.transform(value, metadata) as Promise<unknown>;
  }
}

/** Checks bodies and queries against their DTO class; unknown fields are refused, every mistake is named. */
export const validationPipe = new DtoPipe({
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  transform: true,
  stopAtFirstError: true,
  exceptionFactory: (errors): Problem => invalidRequest(errors.flatMap((error) => fieldErrors(error, ''))),
});

/**
 * Members that Nest and class-transformer drop without a word: those called like one of Object.prototype
 * (`constructor`, `toString`, …), and `prototype`. A filter that lost its only field would match everything, and
 * metadata would come back incomplete.
 */
function droppedFields(value: object, parent: string): FieldError[] {
  return Object.entries(value).flatMap(([name, member]: [string, unknown]) => {
    const path = parent === '' ? name : `${parent}.${name}`;
    if (name in Object.prototype || name === 'prototype') {
      return [{ path, message: 'is not allowed as the name of a field' }];
    }
    return typeof member === 'object' && member !== null ? droppedFields(member, path) : [];
  });
}

function fieldErrors(error: ValidationError, parent: string): FieldError[] {
  const path = parent === '' ? error.property : `${parent}.${error.property}`;
  const own = Object.entries(error.constraints ?? {}).map(([rule, message]) => ({
    path,
    message: rule === 'whitelistValidation' ? 'is not a known field' : withoutName(message, error.property),
  }));
  return [...own, ...(error.children ?? []).flatMap((child) => fieldErrors(child, path))];
}

/** class-validator begins its messages with the property, which the path already says. */
function withoutName(message: string, property: string): string {
  return message.startsWith(`${property} `) ? message.slice(property.length + 1) : message;
}
