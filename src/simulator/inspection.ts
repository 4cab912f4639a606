import type { IncomingMessage } from 'node:http';
import { plain, type Answer } from './answers.js';
import type { Arrival, MailboxStats } from './arrival-log.js';
import { BEHAVIOURS } from './behaviours.js';

/** What can be seen and changed of a simulator over HTTP. */
export interface Inspectable {
  readonly received: readonly Arrival[];
  stats(): Record<string, MailboxStats>;
  clear(): void;
  setSecret(path: string, secret: string): void;
  setBehaviour(path: string, behaviour: string): void;
}

interface Request {
  query: URLSearchParams;
  /** What follows the route's own path: `/orders` of `/_behaviour/orders`. */
  path: string;
  text: string;
}

interface InspectionRoute {
  readonly method: string;
  readonly prefix: string;
  readonly usage: string;
  readonly summary: string;
  answer(simulator: Inspectable, request: Request): Answer;
}

const ROUTES: readonly InspectionRoute[] = [
  {
    method: 'GET',
    prefix: '/_received',
    usage: '/_received?limit=20',
    summary: 'what arrived, newest first',
    answer: ({ received }, { query }) => {
      const limit = Number(query.get('limit') ?? 20);
      if (!Number.isInteger(limit) || limit < 1) return plain(400, {}, 'limit is a whole number from 1\n');
      return json(received.slice(-limit).reverse().map(shown));
    },
  },
  {
    method: 'DELETE',
    prefix: '/_received',
    usage: '/_received',
    summary: 'forgets it',
    answer: (simulator) => {
      simulator.clear();
      return plain(204);
    },
  },
  {
    method: 'GET',
    prefix: '/_stats',
    usage: '/_stats',
    summary: 'counts by path',
    answer: (simulator) => json(countsShown(simulator.stats())),
  },
  {
    method: 'PUT',
    prefix: '/_secret/',
    usage: '/_secret/orders',
    summary: 'body whsec_…: verifies what arrives on /orders with it',
    answer: (simulator, { path, text }) => changed(() => simulator.setSecret(path, text)),
  },
  {
    method: 'PUT',
    prefix: '/_behaviour/',
    usage: '/_behaviour/orders',
    summary: 'body such as fail/15, or ok: makes /orders behave so from now on',
    answer: (simulator, { path, text }) => changed(() => simulator.setBehaviour(path, text)),
  },
];

/** Whether a request is a person's look inside and not a delivery. */
export function isInspection({ method, url = '/' }: IncomingMessage): boolean {
  return url.startsWith('/_') || (url === '/' && method === 'GET');
}

export function inspect(simulator: Inspectable, request: IncomingMessage, body: Buffer): Answer {
  const url = request.url ?? '/';
  if (url === '/') return plain(200, {}, guide());
  const [path = '', query = ''] = url.split('?', 2);
  const route = ROUTES.find(({ method, prefix }) => {
    return method === request.method && (prefix.endsWith('/') ? path.startsWith(prefix) : path === prefix);
  });
  if (!route) return plain(404, {}, `Nothing is here.\n\n${guide()}`);
  return route.answer(simulator, {
    query: new URLSearchParams(query),
    path: path.slice(route.prefix.length - 1),
    text: body.toString().trim(),
  });
}

/** The page for people: what a path may say, and where to look. */
export function guide(): string {
  const behaviours = BEHAVIOURS.map(({ name, argument, summary }) => {
    const call = argument ? `/${name}/${argument.byDefault}` : `/${name}`;
    return `  ${call.padEnd(20)} ${summary}${argument ? ` (${argument.label})` : ''}`;
  });
  const routes = ROUTES.map(({ method, usage, summary }) => {
    return `  ${method.padEnd(6)} ${usage.padEnd(22)} ${summary}`;
  });
  return [
    'A webhook subscriber to practise on. The path of its URL says how it behaves:',
    '',
    ...behaviours,
    '',
    'They combine, and what is left over names a mailbox: /delay/250/fail/15/orders?rate-limit=3',
    '',
    'Look inside:',
    ...routes,
    '',
  ].join('\n');
}

function shown(arrival: Arrival) {
  return {
    arrived_at: new Date(arrival.arrivedAt).toISOString(),
    method: arrival.method,
    path: arrival.path,
    status: arrival.status,
    signature_valid: arrival.signatureValid,
    signature_problem: arrival.signatureProblem,
    duplicate: arrival.duplicate,
    bytes: arrival.bytes,
    headers: arrival.headers,
    body: arrival.body.toString(),
  };
}

function countsShown(stats: Record<string, MailboxStats>) {
  const entries = Object.entries(stats).map(([path, { badSignatures, ...rest }]) => {
    return [path, { ...rest, bad_signatures: badSignatures }] as const;
  });
  return Object.fromEntries(entries);
}

function changed(change: () => void): Answer {
  try {
    change();
    return plain(204);
  } catch (error) {
    return plain(400, {}, `${error instanceof Error ? error.message : String(error)}\n`);
  }
}

const json = (value: unknown): Answer =>
  plain(200, { 'content-type': 'application/json' }, `${JSON.stringify(value, null, 2)}\n`);
