import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Simulator } from '../simulator.js';
import { contradictions, sum, webhookId, type Evidence, type Sums } from './account.js';
import type { GithubEvent } from './github-events.js';
import type { PosthornApi } from './posthorn-api.js';
import { ProgressBar } from './progress-bar.js';
import { sumsTable } from './sums-table.js';

const SUBSCRIBERS = [
  { name: 'healthy', path: '/ok/demo' },
  { name: 'fails 15 %', path: '/fail/15/demo' },
  { name: 'always fails', path: '/always-fail/demo' },
];
const RETRY_POLICY = { schedule: [1, 1, 1] };
const REQUESTS_AT_ONCE = 4;
const POLL_MS = 250;
/** The longest wait between two attempts is 0.8 s. */
const STANDSTILL_MS = 60_000;

interface Subscriber {
  name: string;
  path: string;
  subscriptionId: string;
}

/** One run against one service. Its simulator and subscriptions are its own; other deliveries are not looked at. */
export class DemoRun {
  private readonly subscribers: Subscriber[] = [];
  /** When each accepted event was received by the service, by its id. */
  private readonly acceptedAt = new Map<string, number>();
  /** Whatever did not add up, a sentence each. */
  readonly problems: string[] = [];

  constructor(
    private readonly api: PosthornApi,
    private readonly simulator: Simulator,
    private readonly print: (text: string) => void,
  ) {}

  /** Sends every event, waits for what becomes of it, and replays what died. */
  async run(events: GithubEvent[]): Promise<void> {
    await this.subscribe();
    await this.send(events);
    await this.waitForAll('Delivering');
    await this.report();

    for (const { path } of this.subscribers) this.simulator.setBehaviour(path, 'ok');
    let reopened = 0;
    for (const { subscriptionId } of this.subscribers) {
      reopened += await this.api.retryDeadLetters(subscriptionId);
    }
    this.print(`\nThe subscribers are well again, and ${reopened} dead letters are replayed.\n\n`);
    await this.waitForAll('Replaying');
    const { dead } = await this.report();
    if (dead > 0) this.problems.push(`${dead} deliveries are dead although the replay found everybody well`);
  }

  /** Leaves the service as it was, but for the events. */
  async cleanUp(): Promise<void> {
    for (const { subscriptionId } of this.subscribers.splice(0)) {
      await this.api.deleteSubscription(subscriptionId);
    }
  }

  private async subscribe(): Promise<void> {
    for (const { name, path } of SUBSCRIBERS) {
      const { id, secret } = await this.api.createSubscription({
        target_url: `${this.simulator.url}${path}`,
        event_types: ['github.*'],
        retry_policy: RETRY_POLICY,
        description: `npm run demo: ${name}`,
      });
      this.simulator.setSecret(path, secret);
      this.subscribers.push({ name, path, subscriptionId: id });
    }
  }

  private async send(events: GithubEvent[]): Promise<void> {
    const run = randomBytes(6).toString('hex');
    const bar = new ProgressBar('Sending', events.length);
    const rest = events.entries();
    const sendRest = async (): Promise<void> => {
      for (const [index, event] of rest) {
        const accepted = await this.api.sendEvent(event, `demo-${run}-${index}`);
        this.acceptedAt.set(accepted.id, Date.parse(accepted.received_at));
        bar.update(this.acceptedAt.size);
      }
    };
    await Promise.all(Array.from({ length: REQUESTS_AT_ONCE }, sendRest));
    bar.end();
  }

  /** Until no delivery is due any more, or nothing has happened for a long while. */
  private async waitForAll(label: string): Promise<void> {
    const bar = new ProgressBar(label, this.acceptedAt.size * this.subscribers.length);
    let progress = -1;
    let lastChange = Date.now();
    while (Date.now() - lastChange < STANDSTILL_MS) {
      const all = (await this.evidence()).map(([, evidence]) => sum(evidence));
      const due = all.reduce((total, sums) => total + sums.due, 0);
      bar.update(all.reduce((total, sums) => total + sums.deliveries, 0) - due);
      if (due === 0) break;
      if (this.simulator.total !== progress) lastChange = Date.now();
      progress = this.simulator.total;
      await sleep(POLL_MS);
    }
    bar.end();
  }

  private async report(): Promise<{ dead: number }> {
    const rows: [string, Sums][] = [];
    for (const [name, evidence] of await this.evidence()) {
      const sums = sum(evidence);
      rows.push([name, sums]);
      this.problems.push(...contradictions(evidence).map((problem) => `${name}: ${problem}`));
      if (sums.due > 0) this.problems.push(`${name}: nothing happens to ${sums.due} deliveries that are due`);
    }
    this.print(`\n${sumsTable(rows)}`);
    return { dead: rows.reduce((total, [, { dead }]) => total + dead, 0) };
  }

  private async evidence(): Promise<[name: string, evidence: Evidence][]> {
    const { acceptedAt } = this;
    const found: [string, Evidence][] = [];
    for (const { name, path, subscriptionId } of this.subscribers) {
      const deliveries = await this.api.deliveries(subscriptionId);
      found.push([
        name,
        {
          acceptedAt,
          // Another client may send such events to the same tenant.
          deliveries: deliveries.filter(({ event_id }) => acceptedAt.has(event_id)),
          arrivals: this.simulator.receivedOn(path).filter((arrival) => acceptedAt.has(webhookId(arrival))),
        },
      ]);
    }
    return found;
  }
}
