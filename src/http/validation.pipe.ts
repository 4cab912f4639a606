import { ArgumentMetadata, SetMetadata, ValidationPipe } from '@nestjs/common';
import { getMetadataStorage, ValidationError } from 'class-validator';
import { FieldError, invalidRequest, Problem } from '../domain/errors.js';
import { hiddenCharacterMessage } from '../domain/hidden-characters.js';
import { notKnown } from '../domain/nearest-name.js';
import { emptyBody, requireExact } from './json-body.js';

const OPTIONAL_BODY = 'optionalBody';
const LOOK_UP = 'lookUp';
/** Members that hold data for programs, which is kept as it was given. */
const DATA_FIELDS = new Set(['metadata']);

/** In a body of fields, however deep: the 16 KiB of a subscription's metadata may hold 8,000. */
const MAX_MEMBERS = 10_000;
/**
 * Of one object. class-transformer compares each name with every name before it, which is quadratic: 9,000 names took
 * 70 ms, and nine objects of 1,000 take 10 ms.
 */
export const MAX_FIELDS = 1_000;
/** That a refusal names. */
const MAX_ERRORS = 50;
/** Of the path, or the message, of one of them. */
const MAX_TEXT = 500;

/** A DTO that a request without any body stands for as well, as if it were `{}`. */
export const OptionalBody = (): ClassDecorator => SetMetadata(OPTIONAL_BODY, true);

/** A DTO whose texts are looked up and not kept, so that they may hold what payloads hold. */
export const LookUp = (): ClassDecorator => SetMetadata(LOOK_UP, true);

class DtoPipe extends ValidationPipe {
  /** Nest runs the pipes of a route at once, and the first refusal counts: that of an id in the path goes before. */
  override async transform(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    try {
      return await this.check(value, metadata);
    } catch (refusal) {
      await new Promise((resolve) => setImmediate(resolve));
      throw refusal;
    }
  }

  private async check(value: unknown, metadata: ArgumentMetadata): Promise<unknown> {
    // What a decorator of ours took from the request, checked there.
    if (metadata.type === 'custom') return value;
    // The base class lets null, and an absent body, stand for an empty one.
    const mayBeAbsent = metadata.metatype && Reflect.hasMetadata(OPTIONAL_BODY, metadata.metatype);
    const isAbsent = value === undefined && mayBeAbsent;
    if (value === undefined && metadata.type === 'body' && !mayBeAbsent) throw emptyBody();
    if (!isAbsent && (metadata.type === 'body' || metadata.type === 'query')) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) {
        throw invalidRequest([{ path: 'body', message: 'must be a JSON object' }]);
      }
      requireExact(value);
      requireFewMembers(value);
      const isLookUp =
        metadata.type === 'query' || (metadata.metatype && Reflect.hasMetadata(LOOK_UP, metadata.metatype));
      const errors = [
        ...named(droppedFields(value, '')),
        ...(isLookUp ? [] : named(hiddenCharacters(value, ''))),
      ];
      if (errors.length > 0) throw invalidRequest(errors.slice(0, MAX_ERRORS));
    }
    return (await super.transform(value, metadata)) as unknown;
  }
}

/** Checks bodies and queries against their DTO class; unknown fields are refused, every mistake is named. */
export const validationPipe = new DtoPipe({
  whitelist: true,
  forbidNonWhitelisted: true,
  forbidUnknownValues: true,
  transform: true,
  stopAtFirstError: true,
  // Whose fields are known; it reaches no answer.
  validationError: { target: true },
  exceptionFactory: (errors): Problem => invalidRequest(named(fieldErrors(errors, ''))),
});

/** @throws Problem invalid_request before every one of hundreds of thousands of fields is looked at several times */
function requireFewMembers(value: object): void {
  let count = 0;
  const visit = (container: object, path: string): void => {
    const isList = Array.isArray(container);
    const names = Object.keys(container);
    if (!isList && names.length > MAX_FIELDS) throw tooMany(path, `${MAX_FIELDS} fields`);
    count += names.length;
    if (count > MAX_MEMBERS) throw tooMany('body', `${MAX_MEMBERS} fields and elements`);
    for (const name of names) {
      const member = (container as Record<string, unknown>)[name];
      if (typeof member !== 'object' || member === null) continue;
      visit(member, path === 'body' ? name : isList ? `${path}[${name}]` : `${path}.${name}`);
    }
  };
  visit(value, 'body');
}

const tooMany = (path: string, most: string): Problem =>
  invalidRequest([{ path: shortened(path), message: `must have at most ${most}` }]);

/** An answer does not grow with the mistakes of its request, nor with the names in it; further ones cost nothing. */
function named(errors: Iterable<FieldError>): FieldError[] {
  const first: FieldError[] = [];
  for (const { path, message } of errors) {
    first.push({ path: shortened(path), message: shortened(message) });
    if (first.length === MAX_ERRORS) break;
  }
  return first;
}

const shortened = (text: string): string => (text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text);

/**
 * Members that Nest and class-transformer drop without a word: those called like one of Object.prototype
 * (`constructor`, `toString`, …), and `prototype`. A filter that lost its only field would match everything, and
 * metadata would come back incomplete.
 */
function* droppedFields(value: object, parent: string): Generator<FieldError> {
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    const path = parent === '' ? name : `${parent}.${name}`;
    if (name in Object.prototype || name === 'prototype') {
      yield { path, message: 'is not allowed as the name of a field' };
    } else if (typeof member === 'object' && member !== null) yield* droppedFields(member, path);
  }
}

/** Where people will read it, no field holds what they cannot see: every member of a body, so that none is forgotten. */
function* hiddenCharacters(value: object, parent: string): Generator<FieldError> {
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    if (parent === '' && DATA_FIELDS.has(name)) continue;
    const path = parent === '' ? name : Array.isArray(value) ? `${parent}[${name}]` : `${parent}.${name}`;
    const message =
      hiddenCharacterMessage(name) ?? (typeof member === 'string' ? hiddenCharacterMessage(member) : null);
    if (message !== null) yield { path, message };
    else if (typeof member === 'object' && member !== null) yield* hiddenCharacters(member, path);
  }
}

function* fieldErrors(errors: ValidationError[], parent: string): Generator<FieldError> {
  for (const error of errors) {
    const path = parent === '' ? error.property : `${parent}.${error.property}`;
    for (const [rule, message] of Object.entries(error.constraints ?? {})) {
      const isUnknown = rule === 'whitelistValidation';
      yield { path, message: isUnknown ? unknownField(error) : withoutName(message, error.property) };
    }
    yield* fieldErrors(error.children ?? [], path);
  }
}

function unknownField({ target, property }: ValidationError): string {
  return target === undefined ? 'is not a known field' : notKnown(property, knownFields(target));
}

/** The names that each DTO class has; there are as many entries as classes. */
const fieldsOf = new WeakMap<object, readonly string[]>();

function knownFields({ constructor: dto }: object): readonly string[] {
  let fields = fieldsOf.get(dto);
  if (fields === undefined) {
    const metadata = getMetadataStorage().getTargetValidationMetadatas(dto, '', true, false);
    fields = [...new Set(metadata.map(({ propertyName }) => propertyName))];
    fieldsOf.set(dto, fields);
  }
  return fields;
}

/** class-validator begins its messages with the property, which the path already says. */
function withoutName(message: string, property: string): string {
  return message.startsWith(`${property} `) ? message.slice(property.length + 1) : message;
}
