import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  type Admission,
  DestinationLimits,
  type RequestKind,
} from '../../../src/delivery/destination-limits.js';
import { AddressRules } from '../../../src/domain/target-address.js';
import { InProcessRateLimiter } from '../../../src/limits/in-process-rate-limiter.js';
import { RateLimiter } from '../../../src/limits/rate-limiter.js';
import type { Metrics } from '../../../src/observability/metrics.js';

beforeEach(() => vi.useFakeTimers({ toFake: ['performance'] }));
afterEach(() => vi.useRealTimers());

/** As one that has to ask other processes for each request. */
class AskingLimiter extends RateLimiter {
  private readonly inProcess = new InProcessRateLimiter();

  take(...request: Parameters<RateLimiter['take']>) {
    return Promise.resolve(this.inProcess.take(...request));
  }
}

interface Settings {
  rate?: number;
  concurrency?: number;
  limiter?: RateLimiter;
}

/** Asks for requests of tenants to addresses; what is admitted stays open until it is ended. */
function limits({ rate = 0, concurrency = 0, limiter = new InProcessRateLimiter() }: Settings) {
  const hits: string[] = [];
  const subject = new DestinationLimits(
    limiter,
    { destinationLimited: (limit: string) => hits.push(limit) } as unknown as Metrics,
    {
      addressRules: AddressRules.parse('127.0.0.0/8'),
      destinationRateLimit: rate,
      destinationConcurrency: concurrency,
    },
  );
  const admit = (tenantId: string, address = '198.51.100.7', kind: RequestKind = 'delivery') =>
    subject.admit(subject.destination(address, tenantId), kind);
  const count = async (tenantId: string, tries: number, address?: string, kind?: RequestKind) => {
    const open: Admission[] = [];
    for (let index = 0; index < tries; index++) {
      const admission = await admit(tenantId, address, kind);
      if (admission.isAdmitted) open.push(admission);
    }
    return open;
  };
  return { admit, count, hits };
}

const end = (open: Admission[]) => open.forEach((one) => one.isAdmitted && one.end());
const pass = (ms: number) => vi.advanceTimersByTime(ms);

describe('the rate', () => {
  it.each<[string, string[], number[]]>([
    ['one tenant has half of it', ['a'], [500]],
    ['two have all of it', ['a', 'b'], [500, 500]],
    ['a third is sure of a hundredth', ['a', 'b', 'c', 'd'], [500, 500, 10, 10]],
  ])('%s', async (_, tenants, admitted) => {
    const { count } = limits({ rate: 1_000 });
    const counts = [];
    for (const tenant of tenants) counts.push((await count(tenant, 2_000)).length);
    expect(counts).toEqual(admitted);
  });

  it('flows in again, and says when', async () => {
    const { admit, count, hits } = limits({ rate: 1_000 });
    await count('a', 500);
    expect(await admit('a')).toEqual({ isAdmitted: false, retryInMs: 1_000 });
    expect(hits).toEqual(['rate']);
    pass(100);
    expect(await count('a', 2_000)).toHaveLength(50);
  });

  it('lets a late tenant through in each second, however long others fill it', async () => {
    const { count } = limits({ rate: 1_000 });
    for (let second = 0; second < 20; second++) {
      for (const tenant of ['a', 'b', 'c']) await count(tenant, 2_000);
      expect((await count('late', 5)).length).toBe(5);
      pass(1_000);
    }
  });

  it('is of one address, and of nothing within the network of the operator', async () => {
    const { count } = limits({ rate: 10, concurrency: 10 });
    expect(await count('a', 100)).toHaveLength(5);
    expect(await count('a', 100, '203.0.113.9')).toHaveLength(5);
    expect(await count('a', 100, '127.0.0.1')).toHaveLength(100);
  });

  it('is the same where other processes have to be asked', async () => {
    const { count } = limits({ rate: 1_000, limiter: new AskingLimiter() });
    expect(await count('a', 2_000)).toHaveLength(500);
    expect(await count('b', 2_000)).toHaveLength(500);
    expect(await count('c', 2_000)).toHaveLength(10);
  });
});

describe('concurrency', () => {
  it('is half for one tenant, and always leaves some to the next', async () => {
    const { count, hits } = limits({ concurrency: 100 });
    const counts = [];
    for (const tenant of ['a', 'b', 'c', 'd']) counts.push((await count(tenant, 200)).length);
    expect(counts).toEqual([50, 25, 13, 6]);
    expect(new Set(hits)).toEqual(new Set(['concurrency']));
  });

  it('holds for those that ask other processes at the same time', async () => {
    const { admit } = limits({ rate: 100_000, concurrency: 100, limiter: new AskingLimiter() });
    const admissions = await Promise.all(Array.from({ length: 200 }, async () => admit('a')));
    expect(admissions.filter(({ isAdmitted }) => isAdmitted)).toHaveLength(50);
  });

  it('is not used up by what the rate refuses', async () => {
    const { count } = limits({ rate: 20, concurrency: 100 });
    expect(await count('a', 200)).toHaveLength(10);
    pass(10_000);
    expect(await count('a', 200)).toHaveLength(10);
  });

  it('is free again when a request is over', async () => {
    const { count } = limits({ concurrency: 100 });
    for (let round = 0; round < 3; round++) {
      const open = await count('a', 200);
      expect(open).toHaveLength(50);
      end(open);
    }
  });
});

it('lets few challenges through, whatever asks for them, and also within the network of the operator', async () => {
  const { count, hits } = limits({ rate: 1_000_000 });
  for (const address of ['198.51.100.7', '127.0.0.1']) {
    expect(await count('a', 100, address, 'challenge')).toHaveLength(10);
  }
  expect(new Set(hits)).toEqual(new Set(['challenge']));
  expect(await count('b', 100, '198.51.100.7', 'challenge')).toHaveLength(10);
  expect(await count('a', 100)).toHaveLength(100);
  pass(2_000);
  expect(await count('a', 100, '198.51.100.7', 'challenge')).toHaveLength(1);
});

it.each([
  ['no limit', {}],
  ['a rate alone', { rate: 1_000_000 }],
  ['a concurrency alone', { concurrency: 100_000 }],
])('%s lets all through that is below it', async (_, settings) => {
  expect(await limits(settings).count('a', 5_000)).toHaveLength(5_000);
});
