/** Whose webhooks a source can take; `posthorn` is for events signed by one's own services (POST /webhooks/ingest). */
export const PROVIDER_NAMES = [
  'github',
  'gitlab',
  'stripe',
  'shopify',
  'slack',
  'twilio',
  'standard-webhooks',
  'svix',
  'hmac',
  'bearer',
  'basic',
  'posthorn',
] as const;

export type ProviderName = (typeof PROVIDER_NAMES)[number];
