import { afterAll, beforeAll, expect, it } from 'vitest';
import { Posthorn, startPosthorn } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

let posthorn: Posthorn;
beforeAll(async () => {
  posthorn = await startPosthorn({ env: { MAX_HOPS: '4' } });
});
afterAll(() => posthorn.stop());

it('two subscriptions that feed each other through sources end by themselves', async () => {
  const tenants = [await posthorn.tenant('one'), await posthorn.tenant('other')];
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const sources = await Promise.all(
    tenants.map(async (tenant) => {
      const { body } = await tenant.request('POST', '/sources', {
        name: 'loop',
        provider: 'standard-webhooks',
        secret,
      });
      return `${posthorn.url}/api/v1/webhooks/receive/${body.id}`;
    }),
  );
  for (const [index, tenant] of tenants.entries()) {
    const target_url = sources[1 - index];
    await tenant.request('POST', '/subscriptions', { target_url, secret, retry_policy: { schedule: [] } });
  }

  await tenants[0]!.request('POST', '/events', { event_type: 'round', payload: { type: 'round' } });

  const dead = await waitFor(
    async () => {
      for (const tenant of tenants) {
        const { body } = await tenant.request('GET', '/dlq');
        if (body.data.length > 0) return { tenant, letter: body.data[0] };
      }
      return undefined;
    },
    { what: 'the delivery that is refused' },
  );
  expect(dead.letter).toMatchObject({ reason: 'exhausted', last_status_code: 422 });
  const { body } = await dead.tenant.request('GET', `/status/delivery/${dead.letter.id}`);
  expect(body.attempts[0].response_body).toContain('loop_detected');
  // The first, and those that were delivered 1 to 4 times before.
  const counts = await Promise.all(
    tenants.map(async (tenant) => (await tenant.request('GET', '/events')).body.data.length as number),
  );
  expect(counts).toEqual([3, 2]);
});

it.each([
  ['/events', { event_type: 'a', payload: 1 }],
  ['/events/batch', { events: [{ event_type: 'a', payload: 1 }] }],
])('POST %s takes what was delivered so often, and no more', async (path, event) => {
  const tenant = await posthorn.tenant();
  const send = (hops: string) => tenant.request('POST', path, event, { 'x-webhook-hops': hops });
  expect((await send('4')).status).toBe(202);
  expect(await send('5')).toMatchObject({ status: 422, body: { code: 'loop_detected' } });
});
