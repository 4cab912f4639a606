import type { ApiPropertyOptions } from '@nestjs/swagger';

/** How the documentation says "any JSON value". */
export const ANY_JSON = {
  oneOf: [
    { type: 'object', additionalProperties: true },
    { type: 'array', items: {} },
    { type: 'string' },
    { type: 'number' },
    { type: 'boolean' },
  ],
  nullable: true,
} satisfies ApiPropertyOptions;
