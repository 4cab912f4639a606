import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { judge, type SourceRules } from '../../../../src/domain/providers/judge.js';
import { parseForm } from '../../../../src/domain/providers/form.js';
import { signedContent } from '../../../../src/domain/providers/signed-content.js';

/** What the providers' own pages print; each is refused with another last byte of the body. */
describe.each<{
  page: string;
  rules: Pick<SourceRules, 'provider'> & Partial<SourceRules>;
  secret: string;
  atSeconds: number;
  headers: Record<string, string>;
  body: string;
}>([
  {
    page: 'Validating webhook deliveries, of GitHub',
    rules: { provider: 'github' },
    secret: "It's a Secret to Everybody",
    atSeconds: 0,
    headers: {
      'x-hub-signature-256': 'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17',
    },
    body: 'Hello, World!',
  },
  {
    page: 'Verifying requests from Slack',
    rules: { provider: 'slack' },
    secret: '8f742231b10e8888abcd99yyyzzz85a5',
    atSeconds: 1531420618,
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      'x-slack-request-timestamp': '1531420618',
      'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
    },
    body:
      'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&' +
      'channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&' +
      'response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&' +
      'trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
  },
  {
    page: 'the example of Standard Webhooks',
    rules: { provider: 'standard-webhooks' },
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    atSeconds: 1614265330,
    headers: {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    },
    body: '{"test": 2432232314}',
  },
  {
    page: 'the example of Svix',
    rules: { provider: 'svix' },
    secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
    atSeconds: 1614265330,
    headers: {
      'svix-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'svix-timestamp': '1614265330',
      'svix-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    },
    body: '{"test": 2432232314}',
  },
])('$page', ({ rules, secret, atSeconds, headers, body }) => {
  it('holds, for this body alone', () => {
    const verdictOf = (bytes: string) =>
      judge(
        { method: 'POST', url: '/', headers, body: Buffer.from(bytes) },
        { settings: {}, secrets: [secret], publicUrl: null, ...rules },
        atSeconds * 1_000,
      );
    expect(verdictOf(body)).toMatchObject({ kind: 'event' });
    expect(verdictOf(`${body.slice(0, -1)}x`)).toMatchObject({
      kind: 'refused',
      reason: 'signature_invalid',
    });
  });
});

/** Its token has five characters, and a source takes none that short: what is signed is compared alone. */
it('Security, of Twilio', () => {
  const body =
    'CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212';
  const request = { method: 'POST', url: '/', headers: {}, body: Buffer.from(body) };
  const url = 'https://mycompany.com/myapp.php?foo=1&bar=2';
  const signed = signedContent('{url}{form}', { request, timestamp: '', url, formOf: parseForm });
  expect(createHmac('sha1', '12345').update(signed!.join('')).digest('base64')).toBe(
    'RSOYDt4T1cUTdK1PDd93/VVr8B8=',
  );
});
