import { Document, isPublic, Operation, operationsOf } from '../support/openapi.js';
import type { Answer } from '../support/posthorn.js';
import type { FuzzRequest } from './request-arbitrary.js';
import { violations } from './schema-check.js';

const REQUEST_ID = /^[A-Za-z0-9._:/+=-]{1,128}$/;
/** What is wrong before any route is known: no such path or method, no HTTP. */
const UNROUTED = [400, 404, 405, 414, 431];
/** What may be wrong with a body that the route has no use for. */
const USELESS_BODY = [400, 413, 415];
const ANNOUNCING_BODY = ['transfer-encoding', 'content-length'];
/** No HTTP, or too much of it: on a socket that has no route yet. */
const PARSER_REFUSALS = [400, 431];

/** Says what is wrong with an answer: everything that the document does not promise. */
export class Judge {
  private readonly routes: { operation: Operation; pattern: RegExp }[];

  /** @param foreign words of another tenant, which no answer may hold but to those who said them */
  constructor(
    private readonly document: Document,
    private readonly foreign: string[],
  ) {
    this.routes = operationsOf(document)
      // A fixed segment goes before a parameter, as in the router.
      .sort((one, other) => one.path.split('{').length - other.path.split('{').length)
      .map((operation) => ({
        operation,
        pattern: new RegExp(`^${operation.path.replace(/\{\w+\}/g, '[^/]*')}$`),
      }));
  }

  /** @param said by whoever sent it */
  faultsOf(request: FuzzRequest, answer: Answer, said: Said | 'everything'): string[] {
    const { status, headers } = answer;
    const operation = this.operationAt(request);
    const faults: string[] = [];
    if (status >= 500) faults.push(`it is ${status}`);
    const id = headers['x-request-id'];
    if (typeof id !== 'string' || !REQUEST_ID.test(id)) faults.push(`its x-request-id is ${String(id)}`);
    faults.push(...this.undocumented(operation, request, answer));
    if (status >= 400 && request.method !== 'HEAD') faults.push(...this.faultsOfProblem(answer));
    if (said !== 'everything') faults.push(...this.leaks(answer, said));
    return faults;
  }

  /** What is wrong with the answer of a route for anybody, which may say little more than that it works. */
  faultsOfPublic(request: FuzzRequest, answer: Answer): string[] {
    const { status } = answer;
    const faults = status >= 500 ? [`it is ${status}`] : [];
    if (status >= 400 && request.method !== 'HEAD') faults.push(...this.faultsOfProblem(answer));
    return [...faults, ...this.leaks(answer, { now: this.foreignWordsIn(request), ever: new Set() })];
  }

  /** The words of the other tenant that a request says itself. */
  foreignWordsIn({ target, headers, body }: FuzzRequest): string[] {
    const text = `${target} ${JSON.stringify(headers)} ${body?.toString() ?? ''}`.toLowerCase();
    return this.foreign.filter((word) => text.includes(word.toLowerCase()));
  }

  private operationAt({ method, target }: FuzzRequest): Operation | undefined {
    // As the router does: the last slash counts for nothing, and any other empty segment for a parameter.
    const path = target.split(/[?#]/)[0]!.replace(/(?<=.)\/$/, '');
    const wanted = method === 'HEAD' ? 'GET' : method;
    return this.routes.find(({ operation, pattern }) => operation.method === wanted && pattern.test(path))
      ?.operation;
  }

  private undocumented(operation: Operation | undefined, request: FuzzRequest, answer: Answer): string[] {
    const { status, text, body } = answer;
    const isUnrouted = UNROUTED.includes(status) || (request.method === 'OPTIONS' && status === 204);
    // With a slash at its end and no id, a path may be that of a route for anybody, whose answers have a test of their own.
    if (operation && isPublic(operation)) return [];
    if (!operation) return isUnrouted ? [] : [`${status}, where there is no route`];
    const documented = operation.described.responses[String(status)];
    if (!documented) return isAboutTheForm(operation, request, answer) ? [] : [`${status} is not documented`];
    if (request.method === 'HEAD' || status >= 400) return [];
    const schema = documented.content?.['application/json']?.schema;
    if (!schema) return text === '' ? [] : [`${status} should have no body`];
    return violations(this.document, schema, body);
  }

  private faultsOfProblem({ status, headers, body }: Answer): string[] {
    const faults = violations(this.document, { $ref: '#/components/schemas/ProblemResponse' }, body);
    const { status: said, request_id } = (body ?? {}) as Record<string, unknown>;
    if (said !== status) faults.push(`its body says ${String(said)}`);
    if (request_id !== headers['x-request-id'])
      faults.push(`its body names the request ${String(request_id)}`);
    if (!String(headers['content-type']).startsWith('application/problem+json')) {
      faults.push(`its content type is ${String(headers['content-type'])}`);
    }
    return faults;
  }

  private leaks({ headers, text, body }: Answer, { now, ever }: Said): string[] {
    const shown = `${JSON.stringify(headers)} ${text}`.toLowerCase();
    const suspects = this.foreign.filter((word) => !now.includes(word) && shown.includes(word.toLowerCase()));
    if (suspects.length === 0) return [];
    const named = `${JSON.stringify(headers)} ${JSON.stringify(withoutNamed(body) ?? '')}`.toLowerCase();
    return suspects
      .filter((word) => !ever.has(word) || named.includes(word.toLowerCase()))
      .map((word) => `it holds "${word}" of another tenant`);
  }
}

/** Words of the other tenant. */
interface Said {
  /** In this request. */
  now: readonly string[];
  /** In any request of this sender. */
  ever: ReadonlySet<string>;
}

/** Fields in which callers name things, so that an id may have become the name of something of theirs. */
const NAMED_BY_CALLERS =
  /^(name|description|event_type|event_types|idempotency_key|payload|metadata|headers|target_url|url|request_id|path|query)$/;

function withoutNamed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNamed);
  if (typeof value !== 'object' || value === null) return value;
  // The `event_id` of an event is its caller's own; that of a delivery is the id of an event.
  const isEvent = !('subscription_id' in value);
  const kept = Object.entries(value).filter(
    ([name]) => !NAMED_BY_CALLERS.test(name) && !(isEvent && name === 'event_id'),
  );
  return Object.fromEntries(kept.map(([name, inner]) => [name, withoutNamed(inner)]));
}

/** Refused before it was looked at as a request to that route: by the HTTP parser, or for a body that nobody asked for. */
function isAboutTheForm(
  { described }: Operation,
  { body: sent, headers }: FuzzRequest,
  { status }: Answer,
): boolean {
  const hasBody = sent !== undefined || headers.some(([name]) => ANNOUNCING_BODY.includes(name));
  if (!described.requestBody && hasBody && USELESS_BODY.includes(status)) return true;
  return PARSER_REFUSALS.includes(status);
}
