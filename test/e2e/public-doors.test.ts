import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../support/database.js';
import { freshMetrics } from '../support/metrics.js';
import { ADMIN_KEY, client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

/** What somebody without a key learns from /metrics and /health. */

const TOKEN = 'a-token-for-prometheus';
const EVENT_TYPE = 'merger.with-initech.planned';

const running: { stop(): Promise<void> }[] = [];
async function start(options: Parameters<typeof startPosthorn>[0] = {}): Promise<Posthorn> {
  const posthorn = await startPosthorn(options);
  running.push(posthorn);
  return posthorn;
}
afterAll(async () => {
  for (const one of running.toReversed()) await one.stop();
});

async function busyTenant(posthorn: Posthorn): Promise<TestTenant> {
  const tenant = await posthorn.tenant();
  const { status } = await tenant.request('POST', '/events', { event_type: EVENT_TYPE, payload: 1 });
  expect(status).toBe(202);
  return tenant;
}

/** Names of the metrics in the text. */
const metricsIn = (text: string): string[] => [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!);

describe('/metrics without METRICS_TOKEN', () => {
  let posthorn: Posthorn;
  let tenant: TestTenant;
  beforeAll(async () => {
    posthorn = await start();
    tenant = await busyTenant(posthorn);
  });

  it('shows everybody what names no tenant', async () => {
    const { status, text, headers } = await posthorn.anonymous.request('GET', '/metrics');
    expect(status).toBe(200);
    expect(headers['content-type']).toMatch(/^text\/plain/);
    expect(text).toContain('webhook_events_total{result="accepted"}');
    expect(text).not.toContain(tenant.id);
    expect(text).not.toContain(EVENT_TYPE);
    expect(text).not.toMatch(/tenant=/);
  });

  it('shows everything to who has an operator key, in the same format', async () => {
    const { text: some } = await posthorn.anonymous.request('GET', '/metrics');
    const { status, text: all } = await posthorn.admin.request('GET', '/metrics');
    expect(status).toBe(200);
    expect(all).toContain(`webhook_events_published_total{tenant="${tenant.id}",event_type="${EVENT_TYPE}"}`);
    expect(metricsIn(all).filter((name) => !metricsIn(some).includes(name))).toEqual([
      'webhook_events_published_total',
    ]);
    expect([some, all].map((text) => text.slice(-1))).toEqual(['\n', '\n']);
  });

  it.each(['Bearer wrong', 'Bearer ', 'Basic YTpi', TOKEN, `Bearer ${ADMIN_KEY}x`])(
    'does not pass over a wrong credential: %s',
    async (authorization) => {
      const answer = await posthorn.anonymous.request('GET', '/metrics', undefined, { authorization });
      expect(answer).toMatchObject({ status: 401, body: { code: 'unauthorized' } });
      expect(answer.headers['www-authenticate']).toBe('Bearer');
    },
  );

  it("does not take a tenant's key", async () => {
    expect((await tenant.request('GET', '/metrics')).status).toBe(401);
  });
});

describe('/metrics where others reach it', () => {
  it.each([
    ['nothing', {}, 401],
    ['METRICS_PUBLIC=on', { METRICS_PUBLIC: 'on' }, 200],
    ['METRICS_PUBLIC=on and METRICS_TOKEN', { METRICS_PUBLIC: 'on', METRICS_TOKEN: TOKEN }, 200],
  ])('is for clients without a key with %s: never what names a tenant', async (_, env, status) => {
    const posthorn = await startPosthorn({ env: { HOST: '0.0.0.0', ...env } });
    try {
      const local = client(posthorn.url.replace('0.0.0.0', '127.0.0.1'));
      const tenant = await busyTenant(posthorn);
      const answer = await local.request('GET', '/metrics');
      expect(answer.status).toBe(status);
      if (status === 401) expect(answer.body.detail).toContain('METRICS_TOKEN');
      expect(answer.text).not.toContain(tenant.id);
    } finally {
      await posthorn.stop();
    }
  });
});

it('DOCS=off serves no description of the API', async () => {
  const posthorn = await start({ env: { DOCS: 'off' } });
  for (const path of ['/docs', '/docs-json', '/docs-yaml']) {
    expect((await posthorn.anonymous.request('GET', path)).status, path).toBe(404);
  }
  const { body } = await posthorn.anonymous.request('GET', '/');
  expect(Object.keys(body).sort()).toEqual(['api', 'health', 'name', 'version']);
});

describe('/metrics with METRICS_TOKEN', () => {
  let shared: Posthorn | undefined;
  it.each([
    ['nobody else', undefined, 401],
    ['who has the token', TOKEN, 200],
    ['who has an operator key', ADMIN_KEY, 200],
    ['who has part of the token', TOKEN.slice(0, -1), 401],
  ])('is for %s', async (_, key, status) => {
    const posthorn = (shared ??= await start({ env: { METRICS_TOKEN: TOKEN } }));
    const tenant = await busyTenant(posthorn);
    const caller = client(posthorn.url, key);
    const answer = await caller.request('GET', '/metrics');
    expect(answer.status).toBe(status);
    if (status === 200) expect(await freshMetrics(caller)).toContain(tenant.id);
    else expect(answer.text).not.toContain(tenant.id);
  });
});

it('/health names no host, port, user or database', async () => {
  const database = await createDatabase();
  const proxy = await startTcpProxy(database.url);
  running.push({ stop: () => database.drop() }, { stop: () => proxy.close() });
  const posthorn = await start({ databaseUrl: proxy.url });
  await proxy.cut();
  const { status, body, text } = await posthorn.anonymous.request('GET', '/health');
  expect(status).toBe(503);
  expect(body.details.postgres.status).toBe('down');
  const { hostname, port, username, password, pathname } = new URL(proxy.url);
  for (const secret of [hostname, port, username, password, pathname.slice(1)].filter(Boolean)) {
    expect(text).not.toContain(secret);
  }
});
