import { afterEach, expect, it } from 'vitest';
import { startSimulator } from '../../src/simulator/simulator.js';
import { createDatabase } from '../support/database.js';
import { Posthorn, startPosthorn } from '../support/posthorn.js';
import { startTcpProxy, TcpProxy } from '../support/tcp-proxy.js';
import { waitFor } from '../support/wait-for.js';

const running: { stop(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of running.splice(0).reverse()) await one.stop();
});

async function startBehindProxy(): Promise<{ posthorn: Posthorn; proxy: TcpProxy; databaseUrl: string }> {
  const database = await createDatabase();
  const proxy = await startTcpProxy(database.url);
  running.push({ stop: () => database.drop() }, { stop: () => proxy.close() });
  const posthorn = await startPosthorn({ databaseUrl: proxy.url });
  running.push(posthorn);
  return { posthorn, proxy, databaseUrl: database.url };
}

async function simulate() {
  const simulator = await startSimulator();
  running.push({ stop: () => simulator.close() });
  return simulator;
}

it('what subscribers answered while Postgres was away is recorded when it is back, and not sent again', async () => {
  const simulator = await simulate();
  const { posthorn, proxy } = await startBehindProxy();
  const tenant = await posthorn.tenant();
  await tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/delay/400/a` });
  const events = Array.from({ length: 10 }, (_, number) => ({ event_type: 'a', payload: { number } }));
  await tenant.request('POST', '/events/batch', { events });
  await waitFor(() => simulator.countOn('/delay/400/a') === 10, { what: 'ten requests under way' });
  await proxy.cut();
  await waitFor(() => simulator.receivedOn('/delay/400/a').every(({ status }) => status === 200), {
    what: 'ten answers',
  });
  proxy.mend();
  await waitFor(
    async () => {
      const { body } = await tenant.request('GET', '/deliveries?status=delivered');
      return body.data.length === 10;
    },
    { what: 'ten recorded deliveries' },
  );
  expect(simulator.countOn('/delay/400/a')).toBe(10);
});

it('a change made while a process could not hear of it is seen once it listens again', async () => {
  const { posthorn: deaf, proxy, databaseUrl } = await startBehindProxy();
  const other = await startPosthorn({ databaseUrl });
  running.push(other);
  const tenant = await deaf.tenant();
  const send = () => tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
  expect((await send()).body.deliveries).toBe(0);

  await proxy.cut();
  const elsewhere = await fetch(`${other.url}/api/v1/subscriptions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tenant.apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify({ target_url: 'http://127.0.0.1:60009/never' }),
  });
  expect(elsewhere.status).toBe(201);
  proxy.mend();
  const accepted = await waitFor(
    async () => {
      const answer = await send();
      return answer.status === 202 && answer;
    },
    { what: 'an accepted event' },
  );
  expect(accepted.body.deliveries).toBe(1);
});
