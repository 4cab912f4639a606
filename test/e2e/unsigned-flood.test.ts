import { afterAll, beforeAll, expect, it } from 'vitest';
import { MAX_PARAMETERS } from '../../src/domain/providers/form.js';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';

/** 32 clients without a secret, who send the form that takes longest to read as fast as they are answered. */
const CLIENTS = 32;
const PROBES = 9;
const FORM_BYTES = 262_144;
const WORST_FORM = Array.from({ length: MAX_PARAMETERS - 1 }, () =>
  '+'.repeat(Math.floor(FORM_BYTES / (MAX_PARAMETERS - 1)) - 1),
).join('&');

let posthorn: Posthorn;
let tenant: TestTenant;
beforeAll(async () => {
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  // So that the rate of a source does not come before what a request costs.
  await posthorn.admin.request('PATCH', `/tenants/${tenant.id}`, {
    rate_limit: { per_second: 100_000, burst: 1_000_000 },
  });
});
afterAll(() => posthorn.stop());

/** The median time of GET /ready while such a flood goes on, in milliseconds. */
async function readyDuringFlood(source: object, headers: Record<string, string>): Promise<number> {
  const { body, text } = await tenant.request('POST', '/sources', { name: 'flooded', ...source });
  const statuses = new Set<number>();
  let isOver = false;
  const flood = async (): Promise<void> => {
    while (!isOver) {
      const sent = Buffer.from(WORST_FORM);
      const answer = await posthorn.anonymous.request('POST', `/webhooks/receive/${body.id}`, sent, {
        'content-type': 'application/x-www-form-urlencoded',
        ...headers,
      });
      statuses.add(answer.status);
    }
  };
  const clients = Array.from({ length: CLIENTS }, flood);
  const times: number[] = [];
  for (let probe = 0; probe < PROBES; probe++) {
    const before = performance.now();
    expect((await fetch(`${posthorn.url}/ready`)).status).toBe(200);
    times.push(performance.now() - before);
  }
  isOver = true;
  await Promise.all(clients);
  // Those that found no memory for their body were read by nobody.
  expect(
    [...statuses].filter((status) => status !== 503),
    text,
  ).toEqual([401]);
  return times.sort((a, b) => a - b)[PROBES >> 1]!;
}

it('a flood of forms costs the others little more than one of bytes that are hashed alone', async () => {
  const hashed = await readyDuringFlood({ provider: 'hmac' }, { 'x-webhook-signature': '0'.repeat(64) });
  const form = await readyDuringFlood(
    { provider: 'twilio', secret: 'c0ffee00'.repeat(4), settings: { url: 'https://example.com/' } },
    { 'x-twilio-signature': `${'A'.repeat(27)}=` },
  );
  expect(form / hashed).toBeLessThan(5);
});
