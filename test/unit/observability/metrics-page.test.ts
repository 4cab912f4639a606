import { Counter, Gauge, Registry } from 'prom-client';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { MetricsPage } from '../../../src/observability/metrics-page.js';

let page: MetricsPage;
/** How often the gauge was counted. */
let counted: number;
/** A count ends when this does. */
let counting: Promise<void>;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] });
  counted = 0;
  counting = Promise.resolve();
  const registry = new Registry();
  new Gauge({
    name: 'depth',
    help: 'Counted.',
    registers: [registry],
    async collect() {
      this.set(++counted);
      await counting;
    },
  });
  new Counter({ name: 'published', help: 'By tenant.', labelNames: ['tenant'], registers: [registry] }).inc({
    tenant: 'acme',
  });
  page = new MetricsPage(registry);
});
afterEach(() => vi.useRealTimers());

const depth = async (): Promise<number> =>
  Number(/^depth (\d+)$/m.exec(await page.read({ withTenants: true }))?.[1]);

it('shows what names tenants only where that is asked for', async () => {
  const depth = '# HELP depth Counted.\n# TYPE depth gauge\ndepth 1\n';
  const published = '# HELP published By tenant.\n# TYPE published counter\npublished{tenant="acme"} 1\n';
  expect(await page.read({ withTenants: false })).toBe(depth);
  expect(await page.read({ withTenants: true })).toBe(`${depth}\n${published}`);
  expect(counted).toBe(1);
});

it('is rendered once a second at most', async () => {
  expect(await depth()).toBe(1);
  vi.advanceTimersByTime(999);
  expect(await depth()).toBe(1);
  vi.advanceTimersByTime(1);
  expect(await depth()).toBe(2);
});

it('is rendered once for all who ask meanwhile, however long that takes', async () => {
  let end!: () => void;
  counting = new Promise((resolve) => (end = resolve));
  const first = [depth(), page.read({ withTenants: false })];
  vi.advanceTimersByTime(5_000);
  const later = depth();
  end();
  await Promise.all(first);
  expect([await later, counted]).toEqual([1, 1]);
  vi.advanceTimersByTime(999);
  expect(await depth()).toBe(1);
});

it('is rendered again a second after it could not be', async () => {
  counting = Promise.reject(new Error('away'));
  await expect(depth()).rejects.toThrow('away');
  counting = Promise.resolve();
  vi.advanceTimersByTime(1_000);
  expect(await depth()).toBe(2);
});
