import { setTimeout as sleep } from 'node:timers/promises';
import { signatureHeaders } from '../src/domain/signature.js';
import { generateSecret } from '../src/domain/signing-secret.js';
import { uuidV7 } from '../src/domain/uuid-v7.js';
import { acceptedIn, poolFor, post, requestFor, type EventSource, type Request } from './event-requests.js';
import { monotonicMs, percentiles } from './latencies.js';
import { openLoop } from './open-loop.js';
import { payloadOf } from './payload.js';
import { answerCalls } from './program.js';

/** The load generator: a process of its own, so that its work is not counted as anybody else's. */

export interface ClosedLoop extends EventSource {
  connections: number;
  events: number;
  seconds: number;
  /** Events a request: 1 is POST /events, more is POST /events/batch. */
  batch: number;
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
    const startedAt = monotonicMs();
    const endAt = startedAt + load.seconds * 1000;

    const connection = async (): Promise<void> => {
      while (next < load.events && monotonicMs() < endAt) {
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
    const endedAt = monotonicMs();
    await pool.close();
    return { accepted, refused, startedAt, endedAt, accept: percentiles(acceptMs) };
  },

  openLoop,

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

answerCalls(methods);
