import { applyDecorators } from '@nestjs/common';
import { Matches, MaxLength } from 'class-validator';

/** What people note about something: at most 1,000 characters, on any number of lines. */
export const IsDescription = (): PropertyDecorator =>
  applyDecorators(
    // The first one that fails is told: of what is no string, this.
    MaxLength(1_000, { message: 'must be a string of at most 1000 characters, or null' }),
    // Cc but for tab and line breaks: controls, NUL among them. Cs: halves of surrogate pairs.
    Matches(/^(?:[^\p{Cc}\p{Cs}]|[\t\r\n])*$/u, { message: 'must not hold control characters' }),
  );
