import { randomBytes } from 'node:crypto';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Holdings, holdingsOf, makeOneOfEach } from '../support/holdings.js';
import { Document, documentOf, isPublic, nameOf, Operation, operationsOf } from '../support/openapi.js';
import { ADMIN_KEY, Answer, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { Rows } from '../support/rows.js';
import { settledStateOf, stateOf } from '../support/tenant-state.js';
import { Judge } from './judge.js';
import type { FuzzRequest } from './request-arbitrary.js';
import { Transport } from './transport.js';

const IN_FLIGHT = 8;
/** What a tenant owns is looked up anew after so many of its requests, and made again where it is gone. */
const REQUESTS_BETWEEN_LOOKS = 40;
const LOOKS_BETWEEN_BIRTHS = 10;
const NOBODYS = ['0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e', '00000000-0000-7000-8000-000000000000'];

/** A running Posthorn with a tenant that has something to lose, for others to be fuzzed beside it. */
export class World {
  /** How often each route was answered with each status. */
  readonly answers = new Map<Operation, Map<number, number>>();

  private constructor(
    readonly posthorn: Posthorn,
    readonly simulator: Simulator,
    readonly rows: Rows,
    readonly transport: Transport,
    readonly document: Document,
    readonly operations: Operation[],
    readonly judge: Judge,
    readonly foreign: Holdings,
    private readonly victim: TestTenant,
    private readonly before: string[],
  ) {}

  static async start(): Promise<World> {
    const simulator = await startSimulator({ maxRecords: 100 });
    const posthorn = await startPosthorn({
      env: {
        TENANT_RATE_LIMIT: '1000000',
        TENANT_RATE_BURST: '1000000',
        // Small, so that bodies beyond them are cheap.
        MAX_PAYLOAD_BYTES: '16384',
        MAX_BATCH_BYTES: '65536',
        LANE_CONCURRENCY: '8',
      },
    });
    const document = await documentOf(posthorn);
    const operations = operationsOf(document).filter((operation) => !isPublic(operation));
    const marker = `victim${randomBytes(8).toString('hex')}`;
    const victim = await posthorn.tenant(`name.${marker}`);
    const { holdings, secrets } = await makeOneOfEach(victim, operations, { simulator, marker, events: 3 });
    const rows = new Rows(posthorn.databaseUrl);
    const before = await settledStateOf(rows, victim.id);
    const ids = [...holdings.values()].flat();
    const judge = new Judge(document, [marker, victim.id, victim.apiKey, ...secrets, ...ids]);
    const transport = new Transport(posthorn.url, IN_FLIGHT);
    const foreign: Holdings = new Map([...holdings, ['tenant', [victim.id]]]);
    return new World(
      ...([
        posthorn,
        simulator,
        rows,
        transport,
        document,
        operations,
        judge,
        foreign,
        victim,
        before,
      ] as const),
    );
  }

  /** A tenant of its own for each route, so that what is sent to one changes nothing for another. */
  async sender(operation: Operation): Promise<Sender> {
    const tenant = await this.posthorn.tenant(nameOf(operation));
    const sender = new Sender(this, tenant, operation);
    await sender.look();
    return sender;
  }

  note(operation: Operation, { status }: Answer): void {
    const counts = this.answers.get(operation) ?? new Map<number, number>();
    this.answers.set(operation, counts.set(status, (counts.get(status) ?? 0) + 1));
  }

  /** What is wrong with the answer to a request outside of /api/v1 without a key. */
  async faultsOfPublic(request: FuzzRequest): Promise<string[]> {
    const { method, target, headers, body } = request;
    const { anonymous } = this.posthorn;
    return this.judge.faultsOfPublic(
      request,
      await anonymous.request(method, target, body, Object.fromEntries(headers)),
    );
  }

  /** Lines of the other tenant's rows that are there no more, or were not before. */
  async changesOfTheVictim(): Promise<string[]> {
    const after = await stateOf(this.rows, this.victim.id);
    return [
      ...this.before.filter((row) => !after.includes(row)).map((row) => `gone: ${row}`),
      ...after.filter((row) => !this.before.includes(row)).map((row) => `new: ${row}`),
    ];
  }

  async stop(): Promise<void> {
    await this.rows.end();
    await this.posthorn.stop();
    await this.simulator.close();
  }
}

/** Sends requests with the key of one tenant, or that of the operator, and fills in ids. */
export class Sender {
  private own: Holdings = new Map();
  private sinceLook = 0;
  private looks = 0;
  private readonly kept = new Set<string>();
  private readonly said = new Set<string>();

  constructor(
    private readonly world: World,
    private readonly tenant: TestTenant,
    private readonly operation: Operation,
  ) {}

  get isOperator(): boolean {
    return this.operation.isAdmin;
  }

  /** The request as it is sent, key included. */
  filledIn(request: FuzzRequest): FuzzRequest {
    const key = this.isOperator ? ADMIN_KEY : this.tenant.apiKey;
    const { headers, body } = request;
    const hasKey = headers.some(([name]) => name === 'authorization' || name === 'x-api-key');
    return {
      method: request.method,
      target: this.filled(request.target),
      headers: hasKey ? headers : [['authorization', `Bearer ${key}`], ...headers],
      body: typeof body === 'string' ? this.filled(body) : body && this.filledBytes(body),
    };
  }

  /** @returns what is wrong with the answer; undefined where none came */
  async send(filled: FuzzRequest): Promise<{ faults: string[]; answer: Answer | undefined }> {
    if (++this.sinceLook > REQUESTS_BETWEEN_LOOKS) await this.look();
    const answer = await this.world.transport.send(filled);
    if (answer) this.world.note(this.operation, answer);
    const now = this.world.judge.foreignWordsIn(filled);
    for (const word of now) this.said.add(word);
    const said = this.isOperator ? 'everything' : { now, ever: this.said };
    const faults = answer ? this.world.judge.faultsOf(filled, answer, said) : [];
    return { faults, answer };
  }

  /** Looks up what there is to send requests about, and sees to it that there is something of each kind. */
  async look(): Promise<void> {
    this.sinceLook = 0;
    const { operations, simulator, posthorn } = this.world;
    if (this.isOperator) {
      // Not the tenants that others send with, nor the one that has something to lose.
      const { id } = await posthorn.tenant('expendable');
      this.own = new Map([['tenant', [...(this.own.get('tenant') ?? []).slice(-2), id]]]);
      return;
    }
    const marker = randomBytes(4).toString('hex');
    if (this.own.size === 0) this.keep(await holdingsOf(this.tenant, operations));
    this.own = this.withoutKept(await holdingsOf(this.tenant, operations));
    const kinds = [...this.own.values()];
    if (kinds.some((ids) => ids.length === 0) || ++this.looks % LOOKS_BETWEEN_BIRTHS === 0) {
      const { holdings } = await makeOneOfEach(this.tenant, operations, { simulator, marker, events: 8 });
      this.own = this.withoutKept(holdings);
    }
  }

  /** The key that the requests are sent with is not one to try things out on. */
  private keep(holdings: Holdings): void {
    for (const id of [...holdings.values()].flat()) this.kept.add(id);
  }

  private withoutKept(holdings: Holdings): Holdings {
    return new Map([...holdings].map(([kind, ids]) => [kind, ids.filter((id) => !this.kept.has(id))]));
  }

  private filled(text: string): string {
    return text
      .replaceAll('@@simulator@@', this.world.simulator.url)
      .replace(/@@(own|foreign|unknown):(\w*):(\d+)@@/g, (_, whose: string, kind: string, which: string) =>
        this.idOf(whose, kind, Number(which)),
      )
      .replace(/@@upper@@([\w-]+)/g, (_, id: string) => id.toUpperCase())
      .replace(/@@cursor@@([\w-]+)/g, (_, id: string) =>
        Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url'),
      );
  }

  private filledBytes(bytes: Buffer): Buffer {
    return Buffer.from(this.filled(bytes.toString('latin1')), 'latin1');
  }

  private idOf(whose: string, kind: string, which: number): string {
    // The operator may do anything to any tenant, so another's is nothing to try.
    const holdings =
      whose === 'own' ? this.own : whose === 'foreign' && !this.isOperator ? this.world.foreign : null;
    const ids = holdings === null ? NOBODYS : (holdings.get(kind) ?? [...holdings.values()].flat());
    return ids.length === 0 ? NOBODYS[0]! : ids[which % ids.length]!;
  }
}
