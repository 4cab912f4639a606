import type { Simulator } from '../../src/simulator/simulator.js';
import { hasParameter, isList, kindListed, kindOf, nameOf, Operation, pathParameters } from './openapi.js';
import type { Client } from './posthorn.js';
import { waitFor } from './wait-for.js';

/** What somebody owns: ids by kind, as their own lists show them. */
export type Holdings = Map<string, string[]>;

/** Where its subscriptions point, and a word to find in whatever shows something of it. */
export interface Belongings {
  simulator: Simulator;
  marker: string;
  /** So many deliveries of them die, and as many wait for a retry. */
  events?: number;
}

/**
 * Makes a tenant own at least one of each kind that a route names in its path, and says what it owns. A kind of
 * tomorrow is made with the example of the POST route of its list.
 *
 * @returns the ids, and every secret and key that an answer showed
 * @throws Error naming a kind that nothing here makes
 */
export async function makeOneOfEach(
  tenant: Client,
  operations: Operation[],
  { simulator, marker, events = 1 }: Belongings,
): Promise<{ holdings: Holdings; secrets: string[] }> {
  const own = operations.filter(({ isAdmin }) => !isAdmin);
  const secrets = new Set<string>();
  const post = async (path: string, body: unknown): Promise<void> => {
    const { status, text } = await tenant.request('POST', path, body);
    if (status >= 300) throw new Error(`POST ${path} was answered ${status} ${text}`);
    for (const [secret] of text.matchAll(/(?:whsec|phs?)_[\w+/=-]{24,}/g)) secrets.add(secret);
  };

  for (const schedule of [[], [3_600]]) {
    await post('/subscriptions', {
      target_url: `${simulator.url}/always-fail/${marker}`,
      event_types: [`type.${marker}`],
      retry_policy: { schedule },
      description: marker,
      headers: { 'X-Marker': marker },
      metadata: { marker },
    });
  }
  for (let index = 0; index < events; index++) {
    await post('/events', {
      event_type: `type.${marker}`,
      payload: { marker },
      event_id: `event-${index}-${marker}`,
      idempotency_key: `key_${index}_${marker}`,
    });
  }
  // What nothing more happens to by itself.
  for (const settled of [
    `/dlq?event_type=type.${marker}`,
    `/deliveries?event_type=type.${marker}&status=retrying`,
  ]) {
    await waitFor(async () => (await idsOf(tenant, settled)).length >= events, { what: settled });
  }

  for (const operation of own) {
    const { method, path, example } = operation;
    if (method !== 'POST' || hasParameter(operation) || MADE_BY_HAND.includes(path)) continue;
    if (!own.some((other) => isList(other) && other.path === path)) continue;
    // There are limits to how many of a kind a tenant may have.
    if ((await idsOf(tenant, path)).length >= ENOUGH) continue;
    // Two, so that the list has a second page.
    const { secret: _everybodys, ...body } = harmless(example, simulator.url, marker) as { secret?: unknown };
    for (let count = 0; count < 2; count++) await post(path, body);
  }
  const holdings = await holdingsOf(tenant, operations);

  for (const operation of own) {
    for (const parameter of pathParameters(operation)) {
      const kind = kindOf(operation, parameter);
      if (!holdings.get(kind)?.length) {
        throw new Error(`${nameOf(operation)} takes a ${kind}, and no list of the tenant shows one`);
      }
    }
  }
  return { holdings, secrets: [...secrets] };
}

const ENOUGH = 50;
const MADE_BY_HAND = ['/subscriptions', '/events'];

/** What the lists show: the first hundred of each. */
export async function holdingsOf(owner: Client, operations: Operation[], isAdmin = false): Promise<Holdings> {
  const lists = operations.filter(
    (operation) => isList(operation) && !hasParameter(operation) && operation.isAdmin === isAdmin,
  );
  const holdings: Holdings = new Map();
  for (const list of lists) holdings.set(kindListed(list), await idsOf(owner, list.path));
  return holdings;
}

async function idsOf(owner: Client, path: string): Promise<string[]> {
  const { status, text, body } = await owner.request(
    'GET',
    `${path}${path.includes('?') ? '&' : '?'}limit=100`,
  );
  if (status !== 200) throw new Error(`GET ${path} was answered ${status} ${text}`);
  return (body.data as { id: string }[]).map(({ id }) => id);
}

/** An example of the documentation that leads nowhere but to this machine; names carry the marker. */
export function harmless(example: unknown, url: string, marker = 'example'): unknown {
  return JSON.parse(JSON.stringify(example), (name, value: unknown) => {
    if (typeof value !== 'string') return value;
    if (/^https?:/i.test(value)) return `${url}/ok/${marker}`;
    return name === 'name' ? marker : value;
  }) as unknown;
}
