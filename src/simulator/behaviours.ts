import * as answers from './answers.js';
import { plain, type Answer } from './answers.js';

/** What one step makes of a request: answer it, hold it up, add a header, or (undefined) let it pass. */
export type StepOutcome = Answer | { delayMs: number } | { header: readonly [string, string] } | undefined;

/** Called once a request; keeps its own state (counters, windows) between requests. */
export type Step = () => StepOutcome;

export interface Surroundings {
  random: () => number;
  /** Milliseconds, monotonic. */
  now: () => number;
  query: URLSearchParams;
}

export interface Behaviour {
  readonly name: string;
  readonly argument?: { readonly label: string; readonly pattern: RegExp; readonly byDefault: string };
  /** Always ends the request, so what follows it in a path is the mailbox; otherwise the next step decides. */
  readonly answers: boolean;
  readonly summary: string;
  begin(argument: string, surroundings: Surroundings): Step;
}

const always =
  (answer: Answer): Step =>
  () =>
    answer;
const argument = (label: string, pattern: RegExp, byDefault: string) => ({ label, pattern, byDefault });
const MILLISECONDS = /^\d{1,6}$/;

/** Every behaviour of the simulator. The grammar that combines them is in behaviour-grammar.ts. */
export const BEHAVIOURS: readonly Behaviour[] = [
  {
    name: 'ok',
    answers: true,
    summary: '200 (also what any path does that names no behaviour)',
    begin: () => always(plain(200)),
  },
  {
    name: 'status',
    argument: argument('code,code,…', /^[2-5]\d\d(,[2-5]\d\d)*$/, '200'),
    answers: true,
    summary: 'that status; several are given in turn, over and over',
    begin: inTurn,
  },
  { name: 'always-fail', answers: true, summary: '500, always', begin: () => always(plain(500)) },
  {
    name: 'gone',
    answers: true,
    summary: '410: this subscriber wants no more',
    begin: () => always(plain(410)),
  },
  {
    name: 'fail',
    argument: argument('percent', /^(100|\d{1,2})$/, '15'),
    answers: false,
    summary: '500 for that share of the requests, at random',
    begin: failAtRandom,
  },
  {
    name: 'fail-first',
    argument: argument('count', /^\d{1,6}$/, '3'),
    answers: false,
    summary: '500 for the first so many requests, then well',
    begin: failFirst,
  },
  {
    name: 'rate-limit',
    argument: argument('per-second', /^[1-9]\d{0,4}$/, '3'),
    answers: false,
    summary: '429 with Retry-After to more than so many in any one second',
    begin: limitRate,
  },
  {
    name: 'retry-after',
    argument: argument('seconds or HTTP date', /^(\d{1,6}|[A-Z][a-z]{2}, .+ GMT)$/, '1'),
    answers: false,
    summary: 'adds that header to the answer',
    begin: (value) => () => ({ header: ['retry-after', value] }),
  },
  {
    name: 'delay',
    argument: argument('ms', MILLISECONDS, '250'),
    answers: false,
    summary: 'waits first',
    begin: (ms) => () => ({ delayMs: Number(ms) }),
  },
  { name: 'hang', answers: true, summary: 'never answers', begin: () => always(answers.silence) },
  {
    name: 'slow-headers',
    argument: argument('ms', MILLISECONDS, '100'),
    answers: true,
    summary: 'a header byte every so often, without end',
    begin: (ms) => always(answers.slowHeaders(Number(ms))),
  },
  {
    name: 'drip',
    argument: argument('ms', MILLISECONDS, '100'),
    answers: true,
    summary: '200, then a body byte every so often, without end',
    begin: (ms) => always(answers.drip(Number(ms))),
  },
  {
    name: 'endless',
    answers: true,
    summary: '200 and a body that never ends, at full speed',
    begin: () => always(answers.endless),
  },
  {
    name: 'huge',
    argument: argument('MiB', /^\d{1,4}$/, '100'),
    answers: true,
    summary: '200 and a body of that size',
    begin: (size) => always(answers.huge(Number(size))),
  },
  {
    name: 'binary',
    answers: true,
    summary: '200 and a body of NUL bytes and broken UTF-8',
    begin: () => always(plain(200, {}, Buffer.from([0x6e, 0x00, 0xff, 0xfe, 0xc3, 0x28, 0x00, 0x0a]))),
  },
  {
    name: 'redirect',
    answers: true,
    summary: '302 to ?to=URL (by default to /ok/redirected)',
    begin: (_argument, { query }) => always(plain(302, { location: query.get('to') ?? '/ok/redirected' })),
  },
  {
    name: 'drop',
    answers: true,
    summary: 'resets the connection unanswered',
    begin: () => always(answers.reset),
  },
  {
    name: 'drop-mid-body',
    answers: true,
    summary: '200, and the connection ends in the middle of the body',
    begin: () => always(answers.truncated),
  },
  {
    name: 'lie',
    answers: true,
    summary: '200 with more body than its content-length says',
    begin: () => always(answers.understated),
  },
  {
    name: 'garbage',
    answers: true,
    summary: 'bytes that are not HTTP',
    begin: () => always(answers.garbage),
  },
];

function inTurn(codes: string): Step {
  const sequence = codes.split(',').map((code) => plain(Number(code)));
  let turn = 0;
  return () => sequence[turn++ % sequence.length];
}

const FAILURE = plain(500);

function failAtRandom(percent: string, { random }: Surroundings): Step {
  const share = Number(percent) / 100;
  return () => (random() < share ? FAILURE : undefined);
}

function failFirst(count: string): Step {
  let left = Number(count);
  return () => (left-- > 0 ? FAILURE : undefined);
}

/** A strict sliding window: of the requests let through, never more than `perSecond` in any 1,000 ms. */
function limitRate(perSecond: string, { now }: Surroundings): Step {
  const limit = Number(perSecond);
  const passed: number[] = [];
  return () => {
    const at = now();
    const oldest = passed[passed.length - limit];
    if (oldest !== undefined && at - oldest < 1000) {
      // RFC 9110 section 10.2.3: whole seconds, rounded up so that obeying it is enough.
      return plain(429, { 'retry-after': String(Math.ceil((oldest + 1000 - at) / 1000)) });
    }
    passed.push(at);
    if (passed.length > limit) passed.shift();
    return undefined;
  };
}
