import { startSimulator } from '../src/simulator/simulator.js';
import { toMonotonicMs } from './latencies.js';
import { sequenceOf } from './payload.js';
import { answerCalls } from './program.js';

/** The subscriber: a process of its own that answers 200 to everything and counts. */

interface Expectation {
  count: number;
  met: () => void;
}

let arrived = 0;
let lastArrivedAt = 0;
let expectation: Expectation | undefined;
/** Time of arrival by sequence number; kept only while latencies are measured. */
let arrivalTimes: Float64Array | undefined;

const host = process.env['SINK_HOST'];
const simulator = await startSimulator({
  ...(host !== undefined && { host }),
  record: false,
  onHandled: ({ arrivedAt, body }) => {
    arrived++;
    lastArrivedAt = toMonotonicMs(arrivedAt);
    if (arrivalTimes) arrivalTimes[sequenceOf(body)] = lastArrivedAt;
    if (expectation && arrived >= expectation.count) expectation.met();
  },
});

const methods = {
  url: () => simulator.url,

  /** @param sampled how many sequence numbers to note the time of arrival of; 0 notes none */
  reset: (sampled: number) => {
    simulator.clear();
    arrived = 0;
    arrivalTimes = sampled > 0 ? new Float64Array(sampled) : undefined;
  },

  /** Resolves when so many have arrived since the reset, or after `timeoutMs`, with the number that have. */
  until: async (count: number, timeoutMs: number) => {
    if (arrived < count) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        const met = () => {
          clearTimeout(timer);
          resolve();
        };
        expectation = { count, met };
      });
      expectation = undefined;
    }
    return { arrived, lastArrivedAt };
  },

  /** Arrivals by path since the reset. */
  counts: () =>
    Object.fromEntries(Object.entries(simulator.stats()).map(([path, { received }]) => [path, received])),

  arrivalTimes: () => arrivalTimes ?? new Float64Array(),
};

export type Sink = typeof methods;

answerCalls(methods);
