import { setTimeout as sleep } from 'node:timers/promises';
import type { GithubEvent } from './github-events.js';
import type { DeliveryRow } from './account.js';

const MAX_TRIES = 6;
const RETRY_MS = 500;
const REQUEST_TIMEOUT_MS = 30_000;
const PAGE_SIZE = 100;

export interface AcceptedEvent {
  id: string;
  deliveries: number;
  received_at: string;
}

interface Answer {
  status: number;
  retryAfterMs: number | null;
  body: unknown;
}

/** What the demo asks of a Posthorn, over HTTP like anybody else. Every method throws an Error for a refusal. */
export class PosthornApi {
  /** @param url of the service, without `/api/v1` */
  constructor(
    readonly url: string,
    private readonly apiKey: string,
  ) {}

  async createSubscription(fields: Record<string, unknown>): Promise<{ id: string; secret: string }> {
    return (await this.call('POST', '/subscriptions', fields)) as { id: string; secret: string };
  }

  async deleteSubscription(id: string): Promise<void> {
    await this.call('DELETE', `/subscriptions/${id}`);
  }

  /** Hands an event in; the idempotency key makes it safe to try again when the answer got lost. */
  async sendEvent({ type, payload }: GithubEvent, idempotencyKey: string): Promise<AcceptedEvent> {
    const names = JSON.stringify({ event_type: type, idempotency_key: idempotencyKey }).slice(0, -1);
    return (await this.call('POST', '/events', `${names},"payload":${payload}}`)) as AcceptedEvent;
  }

  /** Every delivery of a subscription, page by page. */
  async deliveries(subscriptionId: string): Promise<DeliveryRow[]> {
    const rows: DeliveryRow[] = [];
    for (let cursor: string | null = ''; cursor !== null;) {
      const query = new URLSearchParams({ subscription_id: subscriptionId, limit: String(PAGE_SIZE) });
      if (cursor !== '') query.set('cursor', cursor);
      const page = (await this.call('GET', `/deliveries?${query.toString()}`)) as {
        data: DeliveryRow[];
        next_cursor: string | null;
      };
      rows.push(...page.data);
      cursor = page.next_cursor;
    }
    return rows;
  }

  /** Opens every dead letter of a subscription again; gives how many. */
  async retryDeadLetters(subscriptionId: string): Promise<number> {
    const answer = await this.call('POST', '/dlq/retry', { subscription_id: subscriptionId });
    return (answer as { matched: number }).matched;
  }

  private async call(method: string, path: string, body?: string | object): Promise<unknown> {
    for (let tries = 1; ; tries++) {
      const answer = await this.request(method, path, body).catch((error: unknown) => {
        if (tries === MAX_TRIES) throw new Error(`${this.url} does not answer`, { cause: error });
        return null;
      });
      if (answer !== null && answer.status < 300) return answer.body;
      const mayPass = answer === null || answer.status === 429 || answer.status >= 500;
      if (!mayPass || tries === MAX_TRIES) throw new Error(refusal(`${method} ${path}`, answer));
      await sleep(answer?.retryAfterMs ?? RETRY_MS);
    }
  }

  private async request(method: string, path: string, body?: string | object): Promise<Answer> {
    const response = await fetch(`${this.url}/api/v1${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.apiKey}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      body: body === undefined || typeof body === 'string' ? (body ?? null) : JSON.stringify(body),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    const text = await response.text();
    const seconds = Number(response.headers.get('retry-after') ?? NaN);
    return {
      status: response.status,
      retryAfterMs: Number.isFinite(seconds) ? seconds * 1000 : null,
      body: response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text,
    };
  }
}

/** `POST /events was answered 422: target_url must not be …` */
function refusal(what: string, answer: Answer | null): string {
  const { detail, errors } = (answer?.body ?? {}) as {
    detail?: string;
    errors?: { path: string; message: string }[];
  };
  const reasons = errors?.map(({ path, message }) => `${path} ${message}`).join('; ') ?? detail;
  return `${what} was answered ${answer?.status ?? 'not at all'}${reasons === undefined ? '' : `: ${reasons}`}`;
}
