import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { PROVIDER_NAMES } from '../../../../src/domain/providers/provider-names.js';
import { settingsErrors } from '../../../../src/domain/providers/source-settings.js';
import { PUBLIC_URL, SENDERS } from './senders.js';

const NAMING = {
  event_type_header: 'X-Event',
  event_type_field: 'data.type',
  delivery_id_header: 'X-Delivery',
  delivery_id_field: 'id',
};

describe('settingsErrors', () => {
  it('finds nothing in what the providers of the tests are set to', () => {
    for (const { provider, settings = {} } of SENDERS) {
      expect(settingsErrors(provider, { ...settings }, PUBLIC_URL)).toEqual([]);
    }
  });

  it.each([
    ['stripe', { tolerance_seconds: 1 }],
    ['slack', { tolerance_seconds: 86_400 }],
    ['svix', { tolerance_seconds: 600, event_type_prefix: 'acme' }],
    ['standard-webhooks', { event_type_prefix: 'a' }],
    ['hmac', { algorithm: 'sha1', encoding: 'base64', header: 'X-Sig', prefix: 'v1=', ...NAMING }],
    ['hmac', { signed: 'timestamp.body', timestamp_header: 'X-Time', tolerance_seconds: 60 }],
    ['hmac', { prefix: '', event_type_prefix: 'acme.crm-2' }],
    ['posthorn', { signed: 'body', tolerance_seconds: 60 }],
    ['posthorn', { signed: 'timestamp.body' }],
    ['bearer', { header: 'X-Token', ...NAMING }],
    ['basic', { username: 'shop', ...NAMING }],
    ['twilio', { url: 'https://example.com:8443/twilio?a=b', ...NAMING }],
  ] as const)('lets %s have %o', (provider, settings) => {
    expect(settingsErrors(provider, settings, null)).toEqual([]);
  });

  it.each([
    ['github', { header: 'X-Other' }, ['header']],
    ['posthorn', { event_type_prefix: 'a' }, ['event_type_prefix']],
    ['basic', {}, ['username']],
    ['basic', { username: 'a:b' }, ['username']],
    ['basic', { username: '' }, ['username']],
    ['twilio', {}, ['url']],
    ['twilio', { url: 'ftp://example.com/' }, ['url']],
    ['twilio', { url: 'https://' }, ['url']],
    ['twilio', { url: 'https://example.com/#a' }, ['url']],
    ['twilio', { url: 'https://example.com/?a=b&bodySHA256=00' }, ['url']],
    ['twilio', { url: 'https://example.com/ a' }, ['url']],
    ['stripe', { tolerance_seconds: 0 }, ['tolerance_seconds']],
    ['stripe', { tolerance_seconds: 86_401 }, ['tolerance_seconds']],
    ['stripe', { tolerance_seconds: 1.5 }, ['tolerance_seconds']],
    ['stripe', { tolerance_seconds: '300' }, ['tolerance_seconds']],
    ['hmac', { algorithm: 'md5', encoding: 'binary', signed: 'url' }, ['algorithm', 'encoding', 'signed']],
    ['hmac', { signed: 'timestamp.body' }, ['timestamp_header']],
    ['hmac', { tolerance_seconds: 300 }, ['timestamp_header']],
    ['hmac', { timestamp_header: 'X-Time' }, ['signed']],
    ['hmac', { timestamp_header: 'X-Time', signed: 'body' }, ['signed']],
    ['hmac', { timestamp_header: 'X-Time', tolerance_seconds: 60 }, ['signed']],
    ['hmac', { header: 'X Sig' }, ['header']],
    ['hmac', { header: '' }, ['header']],
    ['hmac', { header: 'x'.repeat(129) }, ['header']],
    ['hmac', { prefix: null }, ['prefix']],
    ['hmac', { prefix: 'a\u0000' }, ['prefix']],
    ['hmac', { event_type_field: 'a..b' }, ['event_type_field']],
    ['hmac', { event_type_field: 'a\u0000' }, ['event_type_field']],
    ['hmac', { event_type_field: 'a.b.c.d.e.f.g.h.i' }, ['event_type_field']],
    ['hmac', { delivery_id_field: 'x'.repeat(201) }, ['delivery_id_field']],
    ['hmac', { event_type_prefix: 'acme.' }, ['event_type_prefix']],
    ['hmac', { event_type_prefix: '*' }, ['event_type_prefix']],
    ['hmac', { constructor: 1, toString: 'a' }, ['constructor', 'toString']],
    ['hmac', JSON.parse('{"__proto__":{}}') as object, ['__proto__']],
  ] as const)('finds in %s with %o fault with %o', (provider, settings, members) => {
    const errors = settingsErrors(provider, settings as Record<string, unknown>, null);
    expect(errors.map(({ path }) => path)).toEqual(members.map((member) => `settings.${member}`));
    for (const { message } of errors) expect(message).toMatch(/^(must|is no setting of)/);
  });

  it('wants no URL of Twilio where it is known', () => {
    expect(settingsErrors('twilio', {}, PUBLIC_URL)).toEqual([]);
  });

  it('knows the members of each provider', () => {
    for (const provider of PROVIDER_NAMES) {
      const errors = settingsErrors(provider, { 'no setting': 1 }, PUBLIC_URL);
      expect(errors[0]).toMatchObject({ path: 'settings.no setting' });
    }
  });

  it('has every provider and setting in docs/providers.md', async () => {
    const page = await readFile(new URL('../../../../docs/providers.md', import.meta.url), 'utf8');
    for (const provider of PROVIDER_NAMES) {
      const [error] = settingsErrors(provider, { '?': 1 }, PUBLIC_URL);
      const settings = error!.message.split(' it has ')[1]!.split(', ');
      for (const name of [provider, ...settings]) {
        if (name !== 'none') expect(page, `${provider}: ${name}`).toContain(`\`${name}\``);
      }
    }
  });
});
