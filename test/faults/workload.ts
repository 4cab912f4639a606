import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { client, Client } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';
import { ADMIN_KEY, Stand } from './stand.js';

const EVENTS_A_SECOND = 80;
/** Requests under way, as a real sender would bound them. */
const MAX_UNDER_WAY = 64;
/** A sender gives a request up after this time, and sends it again with the same key. */
const REQUEST_TIMEOUT_MS = 3_000;
const RETRY_MS = 100;
/** Of the events that were accepted, so many are handed in again, as senders do that missed the answer. */
const REPEATED = 0.05;

/** Long enough for every fault; the tests of retry policies are elsewhere. */
const PATIENT = { schedule: Array<number>(90).fill(0.3) };

interface Target {
  path: string;
  eventTypes: string[];
  /** How each of its deliveries must end. */
  ends: 'delivered' | 'dead' | 'cancelled';
  rules: Record<string, unknown>;
}

export const TARGETS: readonly Target[] = [
  { path: 'all/ok', eventTypes: [], ends: 'delivered', rules: { retry_policy: PATIENT } },
  { path: 'orders/ok', eventTypes: ['order.*'], ends: 'delivered', rules: { retry_policy: PATIENT } },
  { path: 'paid/slow', eventTypes: ['order.paid'], ends: 'delivered', rules: { retry_policy: PATIENT } },
  { path: 'orders/flaky', eventTypes: ['order.*'], ends: 'delivered', rules: { retry_policy: PATIENT } },
  {
    path: 'paced/ok',
    eventTypes: ['user.signup'],
    ends: 'delivered',
    rules: { retry_policy: PATIENT, rate_limit: { limit: 200, period_seconds: 1 }, max_concurrency: 4 },
  },
  {
    path: 'rare/broken',
    eventTypes: ['rare.*'],
    ends: 'dead',
    rules: { retry_policy: { schedule: [0.2, 0.2] } },
  },
  {
    path: 'held/broken',
    eventTypes: ['rare.unwanted'],
    ends: 'cancelled',
    // Attempts that are interrupted count as well, and must not use it up.
    rules: { retry_policy: { schedule: Array<number>(90).fill(3600) } },
  },
];

/** What is sent how often; nobody but `all` wants the last one. */
const TYPES: [type: string, share: number][] = [
  ['order.paid', 0.4],
  ['order.created', 0.2],
  ['user.signup', 0.25],
  ['rare.unwanted', 0.03],
  ['rare.other', 0.03],
  ['else', 0.09],
];

/** One event, and what its sender knows of it. */
export interface SentEvent {
  number: number;
  type: string;
  /** The exact bytes. */
  payload: string;
  key: string;
  /** Requests that carried it. */
  tries: number;
  /** When it was first handed in, and first accepted; milliseconds since the epoch. */
  sentAt: number;
  acceptedAt: number | null;
  /** Every id that an answer gave for it: one, if all is well. */
  ids: Set<string>;
}

/** A tenant that sends known events at a steady rate, and does with refusals and silence what a good client does. */
export class Workload {
  readonly events: SentEvent[] = [];
  /** Answers that no good client can do anything about. */
  readonly refusals: string[] = [];
  /** By subscription id. */
  readonly targets = new Map<string, Target>();
  tenantId = '';
  private apiKey = '';
  private isSending = true;
  private hasGivenUp = false;
  private underWay = 0;
  private readonly agent = new Agent({ connections: MAX_UNDER_WAY });
  private running: Promise<void> = Promise.resolve();

  constructor(
    private readonly stand: Stand,
    readonly name: string,
    private readonly random: () => number,
  ) {}

  /** Where the subscriber sees what this workload sends. */
  get prefix(): string {
    return `/${this.name}/`;
  }

  async prepare(): Promise<void> {
    const admin = client(this.stand.api.url, ADMIN_KEY);
    const { body: tenant, status, text } = await admin.request('POST', '/tenants', { name: this.name });
    if (status !== 201) throw new Error(`no tenant: ${status} ${text}`);
    this.tenantId = tenant.id as string;
    this.apiKey = tenant.api_key as string;
    for (const target of TARGETS) {
      const answer = await this.tenant.request('POST', '/subscriptions', {
        target_url: `${this.stand.toSubscriber.url.replace(/\/$/, '')}${this.prefix}${target.path}`,
        event_types: target.eventTypes,
        ...target.rules,
      });
      if (answer.status !== 201) throw new Error(`no subscription: ${answer.status} ${answer.text}`);
      this.targets.set(answer.body.id as string, target);
    }
  }

  start(): void {
    this.running = this.sendAll();
  }

  /**
   * Sends nothing new; resolves when everything that was sent has been accepted.
   * @throws Error after `timeoutMs`
   */
  async stop(timeoutMs: number): Promise<void> {
    this.isSending = false;
    const late = sleep(timeoutMs, 'late', { ref: false });
    if ((await Promise.race([this.running, late])) === 'late') throw new Error('not everything was accepted');
  }

  async close(): Promise<void> {
    this.isSending = false;
    this.hasGivenUp = true;
    await this.agent.destroy();
  }

  /** Cancels what is to be cancelled, once all of it has failed once. */
  async cancelHeld(): Promise<void> {
    const [held] = [...this.targets].find(([, { ends }]) => ends === 'cancelled')!;
    const open = async (): Promise<{ id: string; status: string }[]> => {
      const { rows } = await this.stand.database.query<{ id: string; status: string }>(
        'select id, status from delivery where subscription_id = $1 and next_attempt_at is not null',
        [held],
      );
      return rows;
    };
    await waitFor(
      async () => {
        for (const { id } of await open()) await this.tenant.request('POST', `/deliveries/${id}/cancel`);
        return (await open()).length === 0;
      },
      { what: 'the held deliveries to be cancelled' },
    );
  }

  private get tenant(): Client {
    return client(this.stand.api.url, this.apiKey);
  }

  private async sendAll(): Promise<void> {
    const sending: Promise<void>[] = [];
    const startedAt = performance.now();
    while (this.isSending) {
      await sleep(1000 / EVENTS_A_SECOND);
      const due = ((performance.now() - startedAt) / 1000) * EVENTS_A_SECOND;
      while (this.events.length < due && this.underWay < MAX_UNDER_WAY) sending.push(this.send(this.next()));
    }
    await Promise.all(sending);
  }

  private next(): SentEvent {
    const number = this.events.length;
    const event: SentEvent = {
      number,
      type: this.pickType(),
      // Bytes that no JSON library would write again as they are.
      payload: `{"number": ${number},"big":12345678901234567890123, "exact" : 1.0, "text":"\\u00e9\\/ü"}`,
      key: `${this.name}-${number}`,
      tries: 0,
      sentAt: Date.now(),
      acceptedAt: null,
      ids: new Set(),
    };
    this.events.push(event);
    return event;
  }

  private pickType(): string {
    let left = this.random();
    for (const [type, share] of TYPES) if ((left -= share) < 0) return type;
    return TYPES[0]![0];
  }

  private async send(event: SentEvent): Promise<void> {
    this.underWay++;
    const repetitions = this.random() < REPEATED ? 2 : 1;
    for (let done = 0; done < repetitions;) {
      if (await this.tryOnce(event)) done++;
      else await sleep(RETRY_MS);
    }
    this.underWay--;
  }

  /** @returns whether there was an answer that settles it */
  private async tryOnce(event: SentEvent): Promise<boolean> {
    event.tries++;
    try {
      const { statusCode, body } = await request(`${this.stand.api.url}/api/v1/events`, {
        method: 'POST',
        dispatcher: this.agent,
        headers: { authorization: `Bearer ${this.apiKey}`, 'content-type': 'application/json' },
        body: `{"event_type":"${event.type}","idempotency_key":"${event.key}","payload":${event.payload}}`,
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      const text = await body.text();
      if (statusCode === 202 || statusCode === 200) {
        event.acceptedAt ??= Date.now();
        event.ids.add((JSON.parse(text) as { id: string }).id);
        return true;
      }
      const mayPass = statusCode === 408 || statusCode === 429 || statusCode >= 500;
      if (!mayPass) this.refusals.push(`${event.key}: ${statusCode} ${text}`);
      return !mayPass;
    } catch {
      return false; // Refused, broken or silent: whether it was stored is not known.
    }
  }
}
