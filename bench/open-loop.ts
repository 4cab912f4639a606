import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { seededRandom } from '../src/simulator/seeded-random.js';
import { acceptedIn, poolFor, post, requestFor, type EventSource } from './event-requests.js';
import { monotonicMs } from './latencies.js';

export interface OpenLoop extends EventSource {
  eventsPerSecond: number;
  events: number;
  /** Events a request. */
  batch: number;
}

/** More than are ever in flight at the loads measured, so that no request waits for another one's answer. */
const MAX_CONNECTIONS = 512;

/**
 * Hands in events when they are due, whether or not the ones before have been answered: their times are drawn
 * beforehand, as those of independent senders are (a Poisson process). A request that goes out late, because this
 * process was busy or all connections were taken, is late for whoever wanted it sent, so latencies count from the
 * time it was due ("coordinated omission" is to count from the time it was sent).
 *
 * @returns times on the machine's monotonic clock by sequence number, in milliseconds
 */
export async function openLoop(load: OpenLoop) {
  const pool = poolFor(load.url, MAX_CONNECTIONS);
  const requests = Math.ceil(load.events / load.batch);
  const dueAt = new Float64Array(load.events);
  const sentAt = new Float64Array(load.events);
  const acceptedAt = new Float64Array(load.events);
  const answers: Promise<void>[] = [];

  const send = async (first: number, count: number): Promise<void> => {
    const request = requestFor(load, first, count);
    sentAt.fill(monotonicMs(), first, first + count);
    const { status, text } = await post(pool, request, load.batch > 1);
    acceptedAt.fill(monotonicMs(), first, first + count);
    acceptedIn(status, text, count, load.batch);
  };
  const random = seededRandom(1, 'arrivals');
  let due = monotonicMs();
  while (answers.length < requests) {
    due -= (Math.log(1 - random()) * load.batch * 1000) / load.eventsPerSecond;
    if (due <= monotonicMs()) await setImmediate(); // behind: the answers want to be read all the same
    while (due > monotonicMs()) await sleep(due - monotonicMs());
    const first = answers.length * load.batch;
    const count = Math.min(load.batch, load.events - first);
    dueAt.fill(due, first, first + count);
    const answer = send(first, count);
    answer.catch(() => undefined); // told at the end
    answers.push(answer);
  }
  await Promise.all(answers);
  await pool.close();
  return { dueAt, sentAt, acceptedAt };
}
