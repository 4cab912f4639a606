import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import { generateSecret, signatureHeaders } from '../src/domain/signature.js';
import { uuidV7 } from '../src/domain/uuid-v7.js';
import { percentiles, wallClock } from './latencies.js';
import { payloadOf } from './payload.js';
import { answerCalls } from './program.js';

/** The load generator: a process of its own, so that its work is not counted as anybody else's. */

export interface EventSource {
  url: string;
  apiKey: string;
  /** Begins every idempotency key; another one for each call. */
  keyPrefix: string;
  /** Event number n is of type `bench.<n modulo types>`. */
  types: number;
  payloadBytes: number;
}

export interface ClosedLoop extends EventSource {
  connections: number;
  events: number;
  seconds: number;
  /** Events a request: 1 is POST /events, more is POST /events/batch. */
  batch: number;
}

export interface OpenLoop extends EventSource {
  eventsPerSecond: number;
  seconds: number;
}

export interface RawPosts {
  url: string;
  /** With the headers and signatures of a delivery. */
  isSigned: boolean;
  connections: number;
  seconds: number;
  payloadBytes: number;
}

const methods = {
  /** Every connection hands in its next event as soon as the last one is answered. */
  closedLoop: async (load: ClosedLoop) => {
    const pool = poolFor(load.url, load.connections);
    const acceptMs: number[] = [];
    let next = 0;
    let accepted = 0;
    let refused = 0;
    const startedAt = wallClock();
    const endAt = startedAt + load.seconds * 1000;

    const connection = async (): Promise<void> => {
      while (next < load.events && wallClock() < endAt) {
        const first = next;
        const count = Math.min(load.batch, load.events - first);
        next += count;
        const request = requestFor(load, first, count);
        for (;;) {
          const sentAt = performance.now();
          const { status, retryAfterMs, text } = await post(pool, request, load.batch > 1);
          if (status === 429) {
            refused++;
            await sleep(retryAfterMs);
            continue;
          }
          acceptMs.push(performance.now() - sentAt);
          accepted += acceptedIn(status, text, count, load.batch);
          break;
        }
      }
    };
    await Promise.all(Array.from({ length: load.connections }, connection));
    const endedAt = wallClock();
    await pool.close();
    return { accepted, refused, startedAt, endedAt, accept: percentiles(acceptMs) };
  },

  /** Hands in events at a fixed rate, whether or not the ones before have been answered. */
  openLoop: async (load: OpenLoop) => {
    const pool = poolFor(load.url, 64);
    const count = load.eventsPerSecond * load.seconds;
    const acceptedAt = new Float64Array(count);
    const acceptMs = new Float64Array(count);
    const answers: Promise<void>[] = [];

    const send = async (sequence: number): Promise<void> => {
      const sentAt = wallClock();
      const { status, text } = await post(pool, requestFor({ ...load, batch: 1 }, sequence, 1), false);
      acceptedIn(status, text, 1, 1);
      acceptedAt[sequence] = wallClock();
      acceptMs[sequence] = acceptedAt[sequence] - sentAt;
    };
    const startedAt = wallClock();
    while (answers.length < count) {
      const due = Math.min(((wallClock() - startedAt) / 1000) * load.eventsPerSecond, count);
      while (answers.length < due) answers.push(send(answers.length));
      await sleep(1);
    }
    await Promise.all(answers);
    await pool.close();
    return { acceptedAt, accept: percentiles(acceptMs) };
  },

  /** What HTTP itself costs here: bare POSTs of the same size; nothing is stored, retried or logged. */
  rawPosts: async ({ url, isSigned, connections, seconds, payloadBytes }: RawPosts) => {
    const pool = poolFor(url, connections);
    const body = Buffer.from(payloadOf(0, payloadBytes));
    const plain = { path: '/raw', headers: { 'content-type': 'application/json' }, body };
    let posts = 0;
    const startedAt = performance.now();
    const connection = async (): Promise<void> => {
      while (performance.now() - startedAt < seconds * 1000) {
        await post(pool, isSigned ? signedRequest(body) : plain, false);
        posts++;
      }
    };
    await Promise.all(Array.from({ length: connections }, connection));
    const elapsedSeconds = (performance.now() - startedAt) / 1000;
    await pool.close();
    return { posts, perSecond: posts / elapsedSeconds };
  },
};

export type Load = typeof methods;

interface Request {
  path: string;
  headers: Record<string, string>;
  body: string | Buffer;
}

const RAW_SECRET = generateSecret();

function signedRequest(body: Buffer): Request {
  const webhookId = uuidV7(Date.now());
  const timestampSeconds = Math.floor(Date.now() / 1000);
  const signatures = signatureHeaders({ secrets: [RAW_SECRET], webhookId, timestampSeconds, body });
  return {
    path: '/raw',
    headers: {
      'content-type': 'application/json',
      'user-agent': 'raw',
      ...signatures,
      'x-webhook-event': 'bench.raw',
      'x-webhook-delivery': webhookId,
      'x-webhook-attempt': '1',
      'x-request-id': webhookId,
    },
    body,
  };
}

function requestFor(source: EventSource & { batch: number }, first: number, count: number): Request {
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    authorization: `Bearer ${source.apiKey}`,
  };
  if (source.batch === 1) {
    headers['idempotency-key'] = `${source.keyPrefix}-${first}`;
    return { path: '/api/v1/events', headers, body: `{${fields(source, first)}}` };
  }
  const events = Array.from({ length: count }, (_, index) => {
    const sequence = first + index;
    return `{${fields(source, sequence)},"idempotency_key":"${source.keyPrefix}-${sequence}"}`;
  });
  return { path: '/api/v1/events/batch', headers, body: `{"events":[${events.join(',')}]}` };
}

function fields({ types, payloadBytes }: EventSource, sequence: number): string {
  return `"event_type":"bench.${sequence % types}","payload":${payloadOf(sequence, payloadBytes)}`;
}

async function post(pool: Pool, request: Request, wantsText: boolean) {
  const { statusCode, headers, body } = await pool.request({ method: 'POST', ...request });
  let text = '';
  if (wantsText || statusCode >= 300) text = await body.text();
  else await body.dump();
  return { status: statusCode, retryAfterMs: Number(headers['retry-after'] ?? 1) * 1000, text };
}

/** @throws Error when any of them was not accepted as new */
function acceptedIn(status: number, text: string, count: number, batch: number): number {
  if (status !== 202) throw new Error(`An event was answered ${status}: ${text}`);
  if (batch > 1 && text.split('"status":"accepted"').length - 1 !== count) {
    throw new Error(`Not every event of a batch was accepted: ${text.slice(0, 2_000)}`);
  }
  return count;
}

function poolFor(url: string, connections: number): Pool {
  return new Pool(url, { connections, pipelining: 1 });
}

answerCalls(methods);
