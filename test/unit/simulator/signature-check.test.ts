import { createHmac } from 'node:crypto';
import { request } from 'undici';
import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { SignatureCheck } from '../../../src/simulator/signature-check.js';
import { startSimulator } from '../../../src/simulator/simulator.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
const OTHER = 'whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
const BODY = '{"name":"Žofie","n":1.0}';

const standard = (secret: string, body = BODY, at = new Date()) => ({
  'webhook-id': 'evt-1',
  'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
  'webhook-signature': new Webhook(secret).sign('evt-1', at, body),
});
const simple = (secret: string, body = BODY) => ({
  'x-webhook-signature': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
});
const rotating = (first: string, second: string) => ({
  ...standard(first),
  'webhook-signature': `${standard(first)['webhook-signature']} ${standard(second)['webhook-signature']}`,
});
const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000);

describe('SignatureCheck', () => {
  it.each([
    ['both right', { ...standard(SECRET), ...simple(SECRET) }, null],
    ['the standard one alone', standard(SECRET), null],
    ['the simple one alone', simple(SECRET), null],
    ['none', {}, 'not signed'],
    ['another secret', standard(OTHER), 'No matching signature found'],
    ['another body', standard(SECRET, '{}'), 'No matching signature found'],
    ['a simple one of another secret', simple(OTHER), 'x-webhook-signature does not match'],
    ['a simple one cut short', { 'x-webhook-signature': 'sha256=00' }, 'x-webhook-signature does not match'],
    ['right, but a wrong simple one', { ...standard(SECRET), ...simple(OTHER) }, 'x-webhook-signature does'],
    ['wrong, but a right simple one', { ...standard(OTHER), ...simple(SECRET) }, 'No matching'],
    ['6 minutes old', standard(SECRET, BODY, minutesAgo(6)), 'Message timestamp too old'],
    ['6 minutes early', standard(SECRET, BODY, minutesAgo(-6)), 'Message timestamp too new'],
    ['no id', { 'webhook-signature': 'v1,AAAA' }, 'Missing required headers'],
    ['a rotation, this secret second', { ...rotating(OTHER, SECRET), ...simple(OTHER) }, null],
    ['a rotation of two others', rotating(OTHER, OTHER), 'No matching'],
  ])('%s', (_case, headers, problem) => {
    const found = new SignatureCheck(SECRET).problem(headers, Buffer.from(BODY));
    if (problem === null) expect(found).toBeNull();
    else expect(found).toContain(problem);
  });

  const BYTES = Buffer.from([0, 0xff, 0xfe, 0x80]);
  const ofBytes = (secret: string, at = new Date()) => {
    const id = 'evt-1';
    const timestamp = String(Math.floor(at.getTime() / 1000));
    const signature = createHmac('sha256', Buffer.from(secret.slice('whsec_'.length), 'base64'))
      .update(Buffer.concat([Buffer.from(`${id}.${timestamp}.`), BYTES]))
      .digest('base64');
    return {
      'webhook-id': id,
      'webhook-timestamp': timestamp,
      'webhook-signature': `v1,AAAA v1,${signature}`,
    };
  };
  it.each([
    ['right', ofBytes(SECRET), null],
    ['of another secret', ofBytes(OTHER), 'No matching signature found'],
    ['of what they are as text', standard(SECRET, BYTES.toString()), 'No matching signature found'],
    ['too old', ofBytes(SECRET, minutesAgo(6)), 'Message timestamp too old'],
    ['without a time', { ...ofBytes(SECRET), 'webhook-timestamp': 'now' }, 'Invalid Signature Headers'],
    ['without an id', { ...ofBytes(SECRET), 'webhook-id': '' }, 'Missing required headers'],
  ])('of bytes that are no text: %s', (_case, headers, problem) => {
    expect(new SignatureCheck(SECRET).problem(headers, BYTES)).toBe(problem);
  });

  it('refuses a secret that is not base64', () => {
    expect(() => new SignatureCheck('whsec_no!')).toThrow(/whsec_/);
  });
});

describe('a simulator that knows secrets', () => {
  it.each([
    ['/ok', standard(SECRET), 200, true],
    ['/ok', standard(OTHER), 401, false],
    ['/own', standard(OTHER), 200, true],
    ['/own', standard(SECRET), 401, false],
    ['/always-fail', {}, 401, false],
  ])('on %s', async (path, headers, status, valid) => {
    const simulator = await startSimulator({ secret: SECRET });
    simulator.setSecret('/own', OTHER);
    const response = await request(simulator.url + path, { method: 'POST', headers, body: BODY });
    await response.body.dump();
    expect(response.statusCode).toBe(status);
    expect(simulator.received).toMatchObject([{ signatureValid: valid, status }]);
    await simulator.close();
  });
});
