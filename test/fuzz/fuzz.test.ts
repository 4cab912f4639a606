import fc from 'fast-check';
import { Agent, getGlobalDispatcher, setGlobalDispatcher } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { hasParameter, kindListed, nameOf, Operation, pathParameters } from '../support/openapi.js';
import { waitFor } from '../support/wait-for.js';
import { asCurl } from './as-curl.js';
import { FuzzRequest, requestsTo, validRequestTo } from './request-arbitrary.js';
import { Sender, World } from './world.js';

/**
 * Requests made from the OpenAPI document, so that a new route is fuzzed from its first day. Whatever is sent: no 5xx,
 * nothing that the document does not promise, nothing of another tenant.
 */

/** Requests a route: the short form is part of `npm test`. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 150);
const isLong = 'FUZZ_RUNS' in process.env;
/** Repeats a run. */
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
/** A regular expression for `METHOD /path`: the others are left out. */
const only = new RegExp(process.env['FUZZ_ONLY'] ?? '');
const ROUTES_AT_ONCE = 8;
const TIMEOUT_MS = 60_000 + runs * 2_000;

process.stderr.write(`FUZZ_SEED=${seed} FUZZ_RUNS=${runs} repeats this run.\n`);

let world: World;
beforeAll(async () => {
  world = await World.start();
});
afterAll(async () => {
  process.stderr.write(tally());
  await world.stop();
});

it(
  'answers whatever is sent to a route as the document says',
  async () => {
    const chosen = world.operations.filter((operation) => only.test(nameOf(operation)));
    const findings = await eachAtOnce(chosen, async (operation) => {
      const sender = await world.sender(operation);
      return firstFinding(
        operation,
        fc.asyncProperty(requestsTo(world.document, operation), async (request) => {
          await sendAndJudge(sender, request);
        }),
        runs,
      );
    });
    expect(findings.join('\n\n')).toBe('');
    expect(
      chosen.filter(isNeverCarriedOut).map(nameOf),
      'routes of which no request was carried out',
    ).toEqual([]);
  },
  TIMEOUT_MS,
);

it(
  'answers whatever is done to a thing in whatever order as the document says',
  async () => {
    const makers = world.operations.filter(
      (operation) =>
        operation.method === 'POST' &&
        !operation.isAdmin &&
        !hasParameter(operation) &&
        world.foreign.has(kindListed(operation)),
    );
    const findings = await eachAtOnce(
      makers.filter((maker) => only.test(nameOf(maker))),
      async (maker) => {
        const sender = await world.sender(maker);
        return firstFinding(
          maker,
          fc.asyncProperty(livesOf(maker), (life) => live(sender, life)),
          runs / 2,
        );
      },
    );
    expect(findings.join('\n\n')).toBe('');
  },
  TIMEOUT_MS,
);

it(
  'answers whatever is sent to what is open to anybody, and says nothing of a tenant',
  async () => {
    const target = fc.tuple(
      fc.constantFrom('/health', '/ready', '/metrics', '/docs-json'),
      fc.oneof(
        fc.constant(''),
        fc.webQueryParameters({ size: 'small' }).map((query) => `?${query}`),
      ),
    );
    const request: fc.Arbitrary<FuzzRequest> = fc.record({
      method: fc.constantFrom('GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'),
      target: target.map((parts) => parts.join('')),
      headers: fc.constantFrom<FuzzRequest['headers']>(
        [],
        [['authorization', 'Bearer nobody']],
        [['accept', 'text/html']],
        [['x-request-id', 'a b']],
      ),
      body: fc.constantFrom(undefined, '{', 'null'),
    });
    const sent = fc.asyncProperty(request, async (filled) => {
      const faults = await world.faultsOfPublic(filled);
      if (faults.length > 0) throw new Error(`${faults.join('; ')}\n  ${asCurl(world.posthorn.url, filled)}`);
    });
    await fc.assert(sent, { seed, numRuns: runs });
  },
  TIMEOUT_MS,
);

it(
  'is alive, ready and whole afterwards',
  async () => {
    const { posthorn } = world;
    expect(await world.changesOfTheVictim()).toEqual([]);
    await world.transport.close();
    // Those of the clients that made tenants and things.
    await getGlobalDispatcher().close();
    setGlobalDispatcher(new Agent());
    await waitFor(async () => (await openConnections()) === 0, { what: 'all connections to end' });
    expect((await posthorn.anonymous.request('GET', '/ready')).status).toBe(200);
    expect((await posthorn.anonymous.request('GET', '/health')).body.status).toBe('ok');
    const [count] = await world.rows.query<{ count: number }>(
      `select count(*)::int as count from pg_stat_activity where datname = current_database() and state <> 'idle'`,
    );
    expect(count!.count, 'sessions at work').toBeLessThanOrEqual(2);
  },
  TIMEOUT_MS,
);

function isNeverCarriedOut(operation: Operation): boolean {
  // Two ids that belong together are hardly ever drawn together.
  if (pathParameters(operation).length > 1) return false;
  const statuses = [...(world.answers.get(operation)?.keys() ?? [])];
  return !statuses.some((status) => status < 300);
}

/** How often each route was answered, by status. */
function tally(): string {
  const lines = [...world.answers].map(([operation, counts]) => {
    const each = [...counts].sort().map(([status, count]) => `${status} ×${count}`);
    return `  ${nameOf(operation)}: ${each.join(', ')}\n`;
  });
  const sum = [...world.answers.values()]
    .flatMap((counts) => [...counts.values()])
    .reduce((a, b) => a + b, 0);
  return `Fuzzing was answered ${sum} times.\n${isLong ? lines.join('') : ''}`;
}

function openConnections(): Promise<number> {
  const server = world.posthorn.app.getHttpServer();
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  );
}

async function sendAndJudge(sender: Sender, request: FuzzRequest): Promise<string | undefined> {
  const filled = sender.filledIn(request);
  if (leadsAway(filled)) return undefined;
  const { faults, answer } = await sender.send(filled);
  if (faults.length === 0) return answer?.body?.id as string | undefined;
  throw new Error(
    [
      faults.join('; '),
      `  ${asCurl(world.posthorn.url, filled)}`,
      `  ${answer!.status} ${JSON.stringify(answer!.headers)} ${answer!.text.slice(0, 1_000)}`,
    ].join('\n'),
  );
}

/** Nothing may be delivered to any other machine. Unlike a check of Posthorn's, this one knows but two places. */
function leadsAway({ body }: FuzzRequest): boolean {
  const hosts = [...(body?.toString() ?? '').matchAll(/https?:[\\/]*([^\\/"?#]*)/gi)].map(
    ([, host]) => host!,
  );
  return hosts.some((host) => !/^(127\.0\.0\.1(:\d+)?|a\.invalid)$/.test(host));
}

/** Something made, and what is then done with it, by the numbers of the routes that take such a thing. */
interface Life {
  birth: FuzzRequest;
  deeds: FuzzRequest[];
}

function livesOf(maker: Operation): fc.Arbitrary<Life> {
  const itself = fc.constant('@@itself@@');
  const takers = world.operations.filter(
    (operation) => !operation.isAdmin && pathParameters(operation).length === 1,
  );
  return fc.record({
    birth: validRequestTo(world.document, maker, itself),
    deeds: fc.array(fc.oneof(...takers.map((taker) => validRequestTo(world.document, taker, itself))), {
      minLength: 1,
      maxLength: 12,
    }),
  });
}

async function live(sender: Sender, { birth, deeds }: Life): Promise<void> {
  const id = await sendAndJudge(sender, birth);
  if (id === undefined) return;
  for (const deed of deeds) {
    await sendAndJudge(sender, { ...deed, target: deed.target.replaceAll('@@itself@@', id) });
  }
}

async function firstFinding<T>(
  operation: Operation,
  property: fc.IAsyncProperty<T>,
  numRuns: number,
): Promise<string | undefined> {
  const details = await fc.check(property, { seed, numRuns: Math.ceil(numRuns), maxSkipsPerRun: 1_000 });
  if (!details.failed) return undefined;
  const error = details.errorInstance as Error;
  return `${nameOf(operation)}: ${error.message}\n  FUZZ_SEED=${seed}, after ${details.numRuns} requests`;
}

async function eachAtOnce(
  operations: Operation[],
  find: (operation: Operation) => Promise<string | undefined>,
): Promise<string[]> {
  const waiting = [...operations];
  const findings: string[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const finding = await find(next);
      if (finding) findings.push(finding);
    }
  };
  await Promise.all(Array.from({ length: ROUTES_AT_ONCE }, work));
  return findings;
}
