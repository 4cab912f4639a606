import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { plain, type Answer } from './answers.js';
import { ArrivalLog, type Arrival, type MailboxStats } from './arrival-log.js';
import { BehaviourSyntaxError, stepsOfBehaviour, stepsOfTarget } from './behaviour-grammar.js';
import type { Step } from './behaviours.js';
import { inspect, isInspection } from './inspection.js';
import { seededRandom } from './seeded-random.js';
import { SignatureCheck } from './signature-check.js';

export interface SimulatorOptions {
  /** 127.0.0.1 by default. */
  host?: string;
  /** 0, the default, takes any free port. */
  port?: number;
  /** Verifies the signatures on every path that has no secret of its own: `whsec_…`. */
  secret?: string | undefined;
  /** Makes random failures the same in every run. */
  seed?: number | undefined;
  /** false: only counts, for benchmarks; `received` stays empty and duplicates are not noticed. */
  record?: boolean;
  /** How many arrivals are remembered, 10,000 by default; the oldest go first. Counts are not limited. */
  maxRecords?: number;
  /** false: arrivals are remembered without their bodies. */
  keepBodies?: boolean;
  /** Called for every arrival once its answer is decided, that is after any delay. */
  onHandled?: ((arrival: Arrival) => void) | undefined;
}

interface Route {
  path: string;
  steps: Step[];
}

const OK = plain(200);
const BAD_SIGNATURE = plain(401);
const NO_BYTES = Buffer.alloc(0);

/** Starts a webhook subscriber that behaves as the path of its URL says; see `GET /` on it for the list. */
export async function startSimulator(options: SimulatorOptions = {}): Promise<Simulator> {
  const simulator = new Simulator(options);
  await simulator.listen(options.host ?? '127.0.0.1', options.port ?? 0);
  return simulator;
}

export class Simulator {
  readonly #options: SimulatorOptions;
  readonly #log: ArrivalLog;
  readonly #server: Server;
  readonly #behaviours = new Map<string, string>();
  readonly #checks = new Map<string, SignatureCheck>();
  readonly #defaultCheck: SignatureCheck | undefined;
  /** By request target, query included: parsing once makes the hot path a look-up. */
  readonly #routes = new Map<string, Route>();
  #url = '';

  constructor(options: SimulatorOptions) {
    this.#options = options;
    this.#log = new ArrivalLog(options.record === false ? 0 : (options.maxRecords ?? 10_000));
    this.#defaultCheck = options.secret === undefined ? undefined : new SignatureCheck(options.secret);
    this.#server = createServer((request, response) => this.#serve(request, response));
    // A kept-alive connection that closes just as it is used again would look like a failed delivery.
    this.#server.keepAliveTimeout = 0;
  }

  /** Rejects with the system's error, such as EADDRINUSE. */
  async listen(host: string, port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject).listen(port, host, resolve);
    });
    this.#url = `http://${host.includes(':') ? `[${host}]` : host}:${this.port}`;
  }

  /** `http://127.0.0.1:port`, without a slash at the end. */
  get url(): string {
    return this.#url;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Oldest first; at most `maxRecords`. */
  get received(): readonly Arrival[] {
    return this.#log.arrivals;
  }

  /** How many have arrived since the start or `clear`, remembered or not. */
  get total(): number {
    return this.#log.total;
  }

  /** @param path of the URL, without its query, such as `/fail/15/orders` */
  receivedOn(path: string): Arrival[] {
    return this.#log.arrivals.filter((arrival) => arrival.path === path);
  }

  countOn(path: string): number {
    return this.#log.countOn(path);
  }

  stats(): Record<string, MailboxStats> {
    return this.#log.stats();
  }

  /**
   * Resolves once so many have arrived in all, or the condition holds; it is asked again after every arrival
   * and every answer. Rejects, with the counts in the message, after `timeoutMs`.
   */
  async waitFor(condition: number | (() => boolean), timeoutMs = 60_000): Promise<void> {
    const holds = typeof condition === 'number' ? () => this.total >= condition : condition;
    await this.#log.waitFor(holds, timeoutMs);
  }

  /**
   * From now on this path behaves so, whatever it is called: `setBehaviour('/orders', 'fail-first/3')`.
   *
   * @throws BehaviourSyntaxError for a behaviour that does not exist
   */
  setBehaviour(path: string, behaviour: string): void {
    stepsOfBehaviour(behaviour, this.#surroundings(path));
    this.#behaviours.set(path, behaviour);
    for (const [target, route] of this.#routes) if (route.path === path) this.#routes.delete(target);
  }

  /**
   * From now on signatures on this path are verified with this secret, and bad ones answered 401.
   *
   * @throws Error if it is not `whsec_` + base64
   */
  setSecret(path: string, secret: string): void {
    this.#checks.set(path, new SignatureCheck(secret));
  }

  /** Forgets arrivals and counts, and starts sequences and windows anew; behaviours and secrets stay. */
  clear(): void {
    this.#log.clear();
    this.#routes.clear();
  }

  /** Cuts every connection, hanging ones too. */
  async close(): Promise<void> {
    this.#log.abandonWaiters();
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const arrivedAt = performance.timeOrigin + performance.now();
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks);
      if (isInspection(request)) inspect(this, request, body).send(response);
      else this.#receive(request, body, arrivedAt, response);
    });
  }

  #receive(request: IncomingMessage, body: Buffer, arrivedAt: number, response: ServerResponse): void {
    const { path, steps } = this.#route(request.url ?? '/');
    const check = this.#checks.get(path) ?? this.#defaultCheck;
    const { headers, method = '' } = request;
    const signatureProblem = check ? check.problem(headers, body) : null;
    const webhookId = headers['webhook-id'] as string | undefined;
    const arrival: Arrival = {
      path,
      method,
      headers,
      body: this.#options.keepBodies === false ? NO_BYTES : body,
      bytes: body.length,
      arrivedAt,
      signatureValid: check ? signatureProblem === null : null,
      signatureProblem,
      duplicate: this.#log.hold(path, webhookId),
      status: null,
    };
    this.#log.add(arrival);
    const finish = (answer: Answer): void => {
      arrival.status = this.#finish(path, answer, response);
      const accepted = arrival.status !== null && arrival.status >= 200 && arrival.status < 300;
      if (!accepted && !arrival.duplicate && webhookId !== undefined) this.#log.release(path, webhookId);
      this.#options.onHandled?.(arrival);
      this.#log.notify();
    };
    if (arrival.signatureValid === false) finish(BAD_SIGNATURE);
    else this.#run(steps, response, finish);
    this.#log.notify();
  }

  /** Takes the steps from `index` on until one answers; the end of them is 200. */
  #run(steps: Step[], response: ServerResponse, finish: (answer: Answer) => void, index = 0): void {
    for (let next = index; next < steps.length; next++) {
      const outcome = steps[next]?.();
      if (outcome === undefined) continue;
      if ('delayMs' in outcome) {
        setTimeout(() => this.#run(steps, response, finish, next + 1), outcome.delayMs).unref();
        return;
      }
      if ('header' in outcome) {
        if (!response.destroyed) response.setHeader(...outcome.header);
        continue;
      }
      finish(outcome);
      return;
    }
    finish(OK);
  }

  /** Sends the answer, unless the sender has left; gives the status that was sent. */
  #finish(path: string, answer: Answer, response: ServerResponse): number | null {
    const status = response.destroyed ? null : answer.status;
    if (!response.destroyed) answer.send(response);
    this.#log.answered(path, status);
    return status;
  }

  #route(target: string): Route {
    const known = this.#routes.get(target);
    if (known) return known;
    const [path = '/'] = target.split('?');
    const route = { path, steps: this.#stepsOf(target, path) };
    this.#routes.set(target, route);
    return route;
  }

  #stepsOf(target: string, path: string): Step[] {
    const set = this.#behaviours.get(path);
    try {
      return set === undefined
        ? stepsOfTarget(target, this.#surroundings(path))
        : stepsOfBehaviour(set, this.#surroundings(path));
    } catch (error) {
      if (!(error instanceof BehaviourSyntaxError)) throw error;
      const refusal = plain(400, {}, `${error.message}\n`);
      return [() => refusal];
    }
  }

  #surroundings(path: string) {
    const { seed } = this.#options;
    return {
      random: seed === undefined ? Math.random : seededRandom(seed, path),
      now: () => performance.now(),
    };
  }
}
