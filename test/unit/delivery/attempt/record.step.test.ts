import { expect, it } from 'vitest';
import { DecideStep } from '../../../../src/delivery/attempt/decide.step.js';
import { RecordStep } from '../../../../src/delivery/attempt/record.step.js';
import { CANNOT_SIGN } from '../../../../src/delivery/attempt/sign.step.js';
import type { Decided } from '../../../../src/delivery/attempt/stages.js';
import type { ResultWriter } from '../../../../src/delivery/result-writer.js';
import type { AttemptResult } from '../../../../src/domain/attempt.js';
import type { SendResult } from '../../../../src/domain/attempt-outcome.js';
import type { ClaimedDelivery } from '../../../../src/domain/delivery.js';
import type { Metrics } from '../../../../src/observability/metrics.js';
import { CLOCK, CONFIG, deliveryWith, NOW, SILENT, subscriptionWith } from './subject.js';

const decide = new DecideStep(CONFIG, CLOCK);
const answer = (statusCode: number): SendResult => ({
  kind: 'response',
  statusCode,
  headers: {},
  body: '',
  retryAfter: null,
  note: null,
  durationMs: 12,
});
const timeout: SendResult = { kind: 'failure', code: 'timeout', message: 'no answer', durationMs: 10_000 };

function decided(sent: SendResult, delivery: Partial<ClaimedDelivery> = {}): Decided {
  const authorised = {
    stage: 'authorised' as const,
    delivery: deliveryWith({ ...delivery, payload: Buffer.from('{}') }),
    subscription: subscriptionWith(),
  };
  return decide.run(authorised, { startedAt: new Date(NOW), startedMs: 5, result: sent });
}

/** Records with a database that says whether the status changed; gives the report, what was written and counted. */
async function recorded(subject: Decided, changed = true) {
  const written: AttemptResult[] = [];
  const counted: string[] = [];
  const step = new RecordStep(
    {
      record: (result: AttemptResult) => {
        written.push(result);
        return Promise.resolve(changed);
      },
    } as unknown as ResultWriter,
    {
      attempted: () => counted.push('attempted'),
      concluded: (status: string, reason: string) => counted.push(`${status} ${reason}`),
      deadLettered: (reason: string) => counted.push(`dead-lettered ${reason}`),
    } as unknown as Metrics,
    CONFIG,
    CLOCK,
    SILENT,
  );
  return { report: await step.run(subject), written, counted };
}

it.each<[what: string, subject: Decided, report: object, counted: string[]]>([
  [
    '2xx',
    decided(answer(200)),
    { target: 'accepted', outcome: 'delivered', retryInMs: null },
    ['attempted', 'delivered delivered'],
  ],
  ['500', decided(answer(500)), { target: 'answered', outcome: 'retry' }, ['attempted', 'retrying retry']],
  ['410', decided(answer(410)), { target: 'answered', outcome: 'gone' }, ['attempted', 'dead gone']],
  [
    'no answer',
    decided(timeout),
    { target: 'noResponse', outcome: 'retry' },
    ['attempted', 'retrying retry'],
  ],
  [
    'no secret',
    decided(CANNOT_SIGN),
    { target: 'notSent', outcome: 'retry' },
    ['attempted', 'retrying retry'],
  ],
  [
    'no subscription',
    decide.orphaned(deliveryWith()),
    { target: 'notSent', outcome: null, retryInMs: null },
    ['dead-lettered subscription_deleted'],
  ],
])('reports and counts %s', async (_, subject, report, counted) => {
  const result = await recorded(subject);
  expect(result.report).toMatchObject(report);
  expect(result.counted).toEqual(counted);
  expect(result.written).toEqual([subject.result]);
});

it('asks for no retry, and counts no status, where another worker has the delivery by now', async () => {
  const { report, counted } = await recorded(decided(answer(500)), false);
  expect(report.retryInMs).toBeNull();
  expect(counted).toEqual(['attempted']);
});

it('records the attempt before that nobody could record', async () => {
  const { written } = await recorded(decided(answer(200), { attemptNumber: 3, isInterrupted: true }));
  expect(written).toMatchObject(
    [
      { attemptNumber: 3, status: 'delivered' },
      { attemptNumber: 2, status: 'retrying', startedAt: new Date(NOW - 60_000), error: /^interrupted/ },
    ].map(({ error, ...row }) => (error ? { ...row, error: expect.stringMatching(error) } : row)),
  );
});
