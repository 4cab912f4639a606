import { Pool } from 'undici';
import { payloadOf } from './payload.js';

/** Where events are handed in, and which. */
export interface EventSource {
  url: string;
  apiKey: string;
  /** Begins every idempotency key; another one for each call. */
  keyPrefix: string;
  /** Event number n is of type `bench.<n modulo types>`. */
  types: number;
  payloadBytes: number;
}

export interface Request {
  path: string;
  headers: Record<string, string>;
  body: string | Buffer;
}

export function requestFor(source: EventSource & { batch: number }, first: number, count: number): Request {
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

export async function post(pool: Pool, request: Request, wantsText: boolean) {
  const { statusCode, headers, body } = await pool.request({ method: 'POST', ...request });
  let text = '';
  if (wantsText || statusCode >= 300) text = await body.text();
  else await body.dump();
  return { status: statusCode, retryAfterMs: Number(headers['retry-after'] ?? 1) * 1000, text };
}

/** @throws Error when any of them was not accepted as new */
export function acceptedIn(status: number, text: string, count: number, batch: number): number {
  if (status !== 202) throw new Error(`An event was answered ${status}: ${text}`);
  if (batch > 1 && text.split('"status":"accepted"').length - 1 !== count) {
    throw new Error(`Not every event of a batch was accepted: ${text.slice(0, 2_000)}`);
  }
  return count;
}

export function poolFor(url: string, connections: number): Pool {
  return new Pool(url, { connections, pipelining: 1 });
}
