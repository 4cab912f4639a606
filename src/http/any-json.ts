import type { ApiPropertyOptions } from '@nestjs/swagger';

/** How the documentation says "any JSON value"; without an alternative Swagger would say `object`. */
export const ANY_JSON = { oneOf: [{}] } satisfies ApiPropertyOptions;

/** How it says what stands in the place of a payload that is not JSON. */
export const PAYLOAD_BASE64 = {
  format: 'byte',
  description: 'Instead of `payload`, where that is no JSON: its bytes in base64.',
} satisfies ApiPropertyOptions;
