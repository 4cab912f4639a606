import { NestFactory } from '@nestjs/core';
import { register } from 'prom-client';
import { beforeEach, expect, it } from 'vitest';
import { Metrics, METRIC_PROVIDERS } from '../../../src/observability/metrics.js';

let metrics: Metrics;

beforeEach(async () => {
  register.clear();
  const root = { module: Metrics, providers: [...METRIC_PROVIDERS, Metrics] };
  metrics = (await NestFactory.createApplicationContext(root, { logger: false })).get(Metrics);
});

function accept(tenant: string, types: number): void {
  for (let index = 0; index < types; index++) metrics.accepted(tenant, `type.${index}`, 1);
}

/** Of each tenant's series: how many, and what is counted as other types. */
async function published(): Promise<Record<string, { series: number; other: number }>> {
  const { values } = await register.getSingleMetric('webhook_events_published_total')!.get();
  const found: Record<string, { series: number; other: number }> = {};
  for (const { labels, value } of values) {
    const of = (found[labels['tenant']!] ??= { series: 0, other: 0 });
    of.series++;
    if (labels['event_type'] === 'other') of.other = value;
  }
  return found;
}

it.each([
  [1, { series: 1, other: 0 }],
  [50, { series: 50, other: 0 }],
  [51, { series: 51, other: 1 }],
  [1_000, { series: 51, other: 950 }],
])('counts %i event types of one tenant with 50 labels at most, and others together', async (types, of) => {
  accept('busy', types);
  accept('busy', Math.min(types, 50));
  accept('quiet', 1);
  expect(await published()).toEqual({ busy: of, quiet: { series: 1, other: 0 } });
});

it('counts tenants together beyond 1,000 pairs, and goes on counting those that have theirs', async () => {
  for (let index = 0; index < 20; index++) accept(`tenant ${index}`, 50);
  accept('late', 3);
  accept('tenant 0', 52);
  const { other, ...known } = await published();
  expect(other).toEqual({ series: 1, other: 5 });
  expect(Object.values(known)).toEqual(Array(20).fill({ series: 50, other: 0 }));
});

it('counts failed attempts apart from deliveries that died without one', async () => {
  metrics.concluded('delivered', 'delivered');
  metrics.concluded('retrying', 'retry');
  metrics.concluded('dead', 'exhausted');
  metrics.deadLettered('subscription_deleted');
  const counted = async (name: string) => {
    const { values } = await register.getSingleMetric(name)!.get();
    return Object.fromEntries(values.map(({ labels, value }) => [labels['reason'] ?? '', value]));
  };
  expect(await counted('webhook_delivery_success_total')).toEqual({ '': 1 });
  expect(await counted('webhook_delivery_retries_total')).toEqual({ '': 1 });
  expect(await counted('webhook_delivery_failure_total')).toEqual({ retry: 1, exhausted: 1 });
  expect(await counted('webhook_dead_letters_total')).toEqual({ exhausted: 1, subscription_deleted: 1 });
});
