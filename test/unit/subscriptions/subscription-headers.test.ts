import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { headerErrors } from '../../../src/subscriptions/subscription-headers.js';

const isAccepted = (name: string): boolean => headerErrors({ [name]: 'v' }).length === 0;

describe('a header name', () => {
  it.each([
    'Authorization',
    'Cookie',
    'X-Api-Key',
    'x-tenant',
    '9',
    'Accept',
    'X-Forward',
    'webhook',
    'Proxy',
  ])('may be %s', (name) => expect(headerErrors({ [name]: 'v' })).toEqual([]));

  it.each([
    ...['Content-Length', 'Transfer-Encoding', 'Connection', 'Host', 'TE', 'Trailer', 'Upgrade', 'Expect'],
    ...['Keep-Alive', 'HTTP2-Settings', 'Proxy-Authorization', 'Proxy-Connection', 'Max-Forwards', 'Via'],
    ...['Content-Type', 'Content-Encoding', 'Accept-Encoding', 'User-Agent', 'Traceparent', 'X-Request-ID'],
    ...['Webhook-Id', 'Webhook-Signature', 'X-Webhook-Signature', 'X-Webhook-Hops', 'CDN-Loop'],
    ...['Forwarded', 'X-Forwarded-For', 'X-Forwarded-Host', 'X-Real-IP', 'X-Original-URL', 'X-Rewrite-URL'],
    ...['X-HTTP-Method-Override'],
  ])('must not be %s', (name) => {
    expect(headerErrors({ [name]: 'v' })).toEqual([
      { path: `headers.${name}`, message: expect.stringContaining('is reserved') },
    ]);
  });

  it.each(['Content_Length', 'Webhook_Signature', 'X_Request_Id', 'Proxy.Authorization', 'X~A', '-x', ''])(
    'must not be %j, which a server may read as another name',
    (name) => {
      expect(headerErrors({ [name]: 'v' })).toEqual([
        { path: `headers.${name}`, message: expect.stringContaining('letters, digits and hyphens') },
      ]);
    },
  );

  it('means the same to servers that tell _ from - and to those that do not', () => {
    const character = fc.constantFrom(...'aZ09-_.~!^|');
    fc.assert(
      fc.property(fc.string({ unit: character, minLength: 1, maxLength: 20 }), (name) => {
        // What CGI makes of a name, and back.
        const merged = name.replace(/[^0-9A-Za-z]/g, '_').replaceAll('_', '-');
        return !isAccepted(name) || merged === name;
      }),
    );
  });
});
