import { Injectable, PipeTransform } from '@nestjs/common';
import { notFound } from '../domain/errors.js';
import { isUuid } from '../domain/uuid-v7.js';

/** An id in a path. One that is not a UUID cannot exist, so it is not found rather than malformed. */
@Injectable()
export class UuidParam implements PipeTransform<string, string> {
  transform(value: string): string {
    if (!isUuid(value)) throw notFound('object with the id', JSON.stringify(String(value).slice(0, 64)));
    return value.toLowerCase();
  }
}
