import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type RateLimitDecision, type RateLimitRule, TokenBucket } from '../../../src/domain/token-bucket.js';
import type { BucketAnswer, BucketRequest } from '../../../src/limits/bucket-script.js';
import { LeasedBucket } from '../../../src/limits/leased-bucket.js';

/** What the script in Redis does, with a clock of its own: the contract test holds the script itself to the same. */
class SharedBucket extends TokenBucket {
  answer({ rule, returned, charges, lease }: BucketRequest, nowMs: number): BucketAnswer {
    this.tokens += returned;
    this.refill(rule, nowMs);
    const admitted = charges.map(({ cost, paid }) => this.take(cost, paid).allowed);
    const leased = Math.max(0, Math.min(lease, Math.floor(this.tokens)));
    this.tokens -= leased;
    return { admitted, lease: leased, tokens: this.tokens };
  }
}

interface Request {
  process: number;
  cost: number;
  /** Of the same request, taken before. */
  paid: number;
}

/** How long a question is under way to Redis, and the answer back. */
interface Distance {
  thereMs: number;
  backMs: number;
}

/** Processes that share a bucket, in virtual time. Each asks Redis one question at a time. */
class Processes {
  nowMs = 0;
  private readonly redis: SharedBucket;
  private readonly processes: { bucket: LeasedBucket; clockAheadMs: number; isAsking: boolean }[];
  /** What is under way, soonest first. */
  private readonly agenda: { atMs: number; happen: () => void }[] = [];

  constructor(
    private readonly rule: RateLimitRule,
    clocksAheadMs: number[],
  ) {
    this.redis = new SharedBucket(rule, 0);
    this.processes = clocksAheadMs.map((clockAheadMs) => ({
      bucket: new LeasedBucket(rule, clockAheadMs),
      clockAheadMs,
      isAsking: false,
    }));
  }

  /** Lets time pass, and answers arrive; without an end until the last one has. */
  pass(untilMs = Infinity): void {
    while (this.agenda.length > 0 && this.agenda[0]!.atMs <= untilMs) {
      const { atMs, happen } = this.agenda.shift()!;
      this.nowMs = atMs;
      happen();
    }
    if (untilMs !== Infinity) this.nowMs = untilMs;
  }

  /** A process that waits for an answer of Redis is left alone. */
  take(
    { process, cost, paid }: Request,
    { thereMs, backMs }: Distance,
    decide: (decision: RateLimitDecision) => void = () => undefined,
  ): void {
    const asked = this.processes[process]!;
    const { bucket, clockAheadMs } = asked;
    if (asked.isAsking) return;
    const askedAtMs = this.nowMs + clockAheadMs;
    bucket.refill(this.rule, askedAtMs);
    const decision = bucket.decideNow(cost, paid);
    if (decision) {
      decide(decision);
      return;
    }
    asked.isAsking = true;
    const question = { ...bucket.exchangeLease(), charges: [{ cost, paid }] };
    this.after(thereMs, () => {
      const answer = this.redis.answer(question, this.nowMs);
      this.after(backMs, () => {
        asked.isAsking = false;
        bucket.learn(answer, question.rule, askedAtMs, this.nowMs + clockAheadMs);
        decide(answer.admitted[0] ? bucket.spend(0) : bucket.refuse(cost, paid));
      });
    });
  }

  /** Takes, and lets time pass until that is decided. */
  decide(request: Request, distance: Distance): RateLimitDecision {
    const decisions: RateLimitDecision[] = [];
    this.take(request, distance, (decision) => decisions.push(decision));
    this.pass();
    return decisions[0]!;
  }

  private after(waitMs: number, happen: () => void): void {
    this.agenda.push({ atMs: this.nowMs + waitMs, happen });
    this.agenda.sort((one, other) => one.atMs - other.atMs);
  }
}

const rules = fc.record({
  perSecond: fc.oneof(fc.double({ min: 0.01, max: 100, noNaN: true }), fc.integer({ min: 100, max: 10_000 })),
  burst: fc.integer({ min: 1, max: 1_000 }),
});
const distances = fc.record({
  thereMs: fc.double({ min: 0, max: 50, noNaN: true }),
  backMs: fc.double({ min: 0, max: 50, noNaN: true }),
});
const costs = fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 1_200 }));
const requests = fc.record({
  process: fc.nat({ max: 2 }),
  cost: costs,
  paid: fc.constantFrom(0, 0, 1),
});

it('admits whoever comes again when it was told to, to whichever process', () => {
  const earlier = fc.array(
    fc.record({
      request: requests,
      distance: distances,
      waitMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 300, noNaN: true })),
    }),
    { maxLength: 30 },
  );
  let refusals = 0;
  fc.assert(
    fc.property(
      rules,
      fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 3, maxLength: 3 }),
      earlier,
      fc.array(distances, { minLength: 2, maxLength: 2 }),
      costs,
      fc.nat({ max: 2 }),
      fc.nat({ max: 2 }),
      (rule, clocksAheadMs, earlier, [there, thereAgain], cost, process, another) => {
        const processes = new Processes(rule, clocksAheadMs);
        for (const { request, distance, waitMs } of earlier) {
          processes.pass(processes.nowMs + waitMs);
          processes.take(request, distance);
        }
        processes.pass();
        const first = processes.decide({ process, cost, paid: 0 }, there!);
        if (first.allowed) return;
        refusals++;
        processes.pass(processes.nowMs + first.retryAfterSeconds * 1_000);
        const again = processes.decide({ process: another, cost, paid: 0 }, thereAgain!);
        expect(again).toMatchObject({ allowed: true });
      },
    ),
    { numRuns: 3_000 },
  );
  expect(refusals).toBeGreaterThan(100);
});

it('refuses without asking Redis while a bucket is empty', () => {
  fc.assert(
    fc.property(rules, distances, (rule, distance) => {
      const processes = new Processes(rule, [0]);
      expect(processes.decide({ process: 0, cost: rule.burst + 1_000, paid: 0 }, distance).allowed).toBe(
        true,
      );
      const askedAtMs = processes.nowMs;
      expect(processes.decide({ process: 0, cost: 1, paid: 0 }, distance).allowed).toBe(false);
      expect(processes.nowMs).toBe(askedAtMs);
    }),
  );
});

it('does not trust an answer that came late when others may have taken what flowed in meanwhile', () => {
  const processes = new Processes({ perSecond: 0.1, burst: 10 }, [0, 0]);
  const near = { thereMs: 0, backMs: 0 };
  processes.decide({ process: 0, cost: 10, paid: 0 }, near);
  processes.pass(9_960);
  processes.take({ process: 1, cost: 5, paid: 0 }, { thereMs: 0, backMs: 80 });
  processes.pass(10_020);
  expect(processes.decide({ process: 0, cost: 1, paid: 0 }, near).allowed).toBe(true);
  processes.pass(10_040);
  // By the late answer there were 0.996 tokens; the last one was taken since.
  expect(processes.decide({ process: 1, cost: 1, paid: 0 }, near)).toMatchObject({
    allowed: false,
    retryAfterSeconds: 10,
  });
});
