import { describe, expect, it } from 'vitest';
import { PROVIDER_NAMES } from '../../../../src/domain/providers/provider-names.js';
import { generateSourceSecret, sourceSecretError } from '../../../../src/domain/providers/source-secret.js';
import { SENDERS } from './senders.js';

describe.each(PROVIDER_NAMES)('the secret of a source of %s', (provider) => {
  it('has at least 16 bytes', () => {
    for (const weak of ['', 'short', 'x'.repeat(15), 'whsec_', 'whsec_!!!!', 'whsec_AAAAAAAA']) {
      expect(sourceSecretError(provider, weak), weak).toMatch(/^must be .*16 to 256 printable ASCII/);
    }
  });

  it('is taken as the provider makes it, and as we do', () => {
    for (const { secrets } of SENDERS.filter((sender) => sender.provider === provider)) {
      for (const secret of secrets) expect(sourceSecretError(provider, secret), secret).toBeNull();
    }
    const made = generateSourceSecret(provider);
    if (made !== null) expect(sourceSecretError(provider, made)).toBeNull();
  });
});

/** How long and of which letters they are, with others in their place. */
it.each([
  ['slack', 'c0ffee00'.repeat(4)],
  ['twilio', 'c0ffee00'.repeat(4)],
  ['shopify', 'c0ffee00'.repeat(4)],
  ['shopify', `shpss_${'c0ffee00'.repeat(4)}`],
  ['stripe', `whsec_${'aB3'.repeat(10)}xY`],
  ['stripe', `whsec_${'c0ffee00'.repeat(8)}`],
  ['github', 'what you also tell GitHub'],
  ['gitlab', `whsec_${Buffer.alloc(32, 9).toString('base64')}`],
] as const)('%s may have %s', (provider, secret) => {
  expect(sourceSecretError(provider, secret)).toBeNull();
});
