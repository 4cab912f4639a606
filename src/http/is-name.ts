import { applyDecorators } from '@nestjs/common';
import { Length, Matches } from 'class-validator';

/** What people call something: 1 to 200 characters, on one line. */
export const IsName = (): PropertyDecorator =>
  applyDecorators(
    // The first one that fails is told: of what is no string, this.
    Length(1, 200, { message: 'must be a string of 1 to 200 characters' }),
    // Cs: halves of surrogate pairs, which UTF-8 cannot write.
    Matches(/^[^\p{Cc}\p{Cs}]*$/u, { message: 'must not hold control characters' }),
    Matches(/\S/, { message: 'must not be blank' }),
  );
