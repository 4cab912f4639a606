import type { ProblemCode } from '../../domain/errors.js';
import { KEY_HOURS } from '../../persistence/repositories/idempotent-request.repository.js';
import { Access, ACCESS, accessOf } from '../access.js';
import { honoursKey, REPEAT_IS_HARMLESS } from '../idempotency.js';
import { LOCATION } from '../located.js';
import { byStatus, OTHER_PROBLEM, problemResponse } from './api-problems.js';

interface DescribedResponse {
  $ref?: string;
  content?: Record<string, { examples?: object }>;
  headers?: Record<string, object>;
}

export interface DescribedOperation {
  description?: string;
  security?: unknown[];
  requestBody?: unknown;
  responses: Record<string, DescribedResponse | undefined>;
  [ACCESS]?: Access;
  'x-required-scope'?: string;
  'x-operator-too'?: true;
  'x-audit-action'?: string;
  [LOCATION]?: string;
  [REPEAT_IS_HARMLESS]?: string;
  parameters?: { in: string; name: string; required?: boolean; description?: string; schema?: object }[];
}

/** Adds what holds for every route of its kind, and no decorator of the route repeats. */
export function describeOperation(operation: DescribedOperation, method: string, path: string): void {
  const access = accessOf({ method, url: path, config: { access: operation[ACCESS] } });
  delete operation['x-access'];
  describeAccess(operation, access);
  if (operation.requestBody) addProblems(operation, BODY_PROBLEMS);
  describeIds(operation);
  describeLocation(operation);
  if (honoursKey(method, access, operation[REPEAT_IS_HARMLESS])) describeKey(operation);
  operation.responses['default'] = { $ref: `#/components/responses/${OTHER_PROBLEM}` };
}

const REFUSALS = ['ip_not_allowed', 'tenant_suspended', 'insufficient_scope', 'rate_limited'] as const;

/** What the guard may answer instead of the route. */
const GUARD_PROBLEMS: Record<Access['for'], readonly ProblemCode[]> = {
  anybody: ['malformed_request'],
  source: ['signature_invalid', 'not_found', 'tenant_suspended', 'ip_not_allowed', 'rate_limited'],
  operator: ['unauthorized', 'forbidden', 'ip_not_allowed', 'admin_key_not_configured', 'rate_limited'],
  tenant: ['unauthorized', 'forbidden', ...REFUSALS],
  'operator or tenant': ['unauthorized', ...REFUSALS],
};

/** What may be wrong with any body, before a route sees it. */
const BODY_PROBLEMS = ['malformed_json', 'payload_too_large', 'unsupported_media_type'] as const;

/** What may be wrong with an Idempotency-Key. */
const KEY_PROBLEMS = [
  'malformed_request',
  'idempotency_conflict',
  'request_in_progress',
  'answer_not_kept',
  'invalid_request',
  'rate_limited',
] as const;

function describeAccess(operation: DescribedOperation, access: Access): void {
  if (access.for === 'anybody' || access.for === 'source') operation.security = [];
  addProblems(operation, GUARD_PROBLEMS[access.for]);
  if (access.for === 'anybody') return;
  operation['x-required-scope'] = 'scope' in access ? access.scope : access.for;
  if (access.for === 'operator or tenant') operation['x-operator-too'] = true;
  // The audit log has to be written first.
  if (operation['x-audit-action']) addProblems(operation, ['unavailable']);
}

/** In a path, what is called so is a UUID, as `UuidParam` checks. */
function describeIds({ parameters = [] }: DescribedOperation): void {
  for (const parameter of parameters) {
    if (parameter.in !== 'path' || !/^(?:\w+_)?id$/.test(parameter.name)) continue;
    parameter.schema = { type: 'string', format: 'uuid' };
  }
}

/** Where the answers of a route name what they made. */
function describeLocation(operation: DescribedOperation): void {
  const { [LOCATION]: location, responses } = operation;
  if (location === undefined) return;
  for (const [status, response] of Object.entries(responses)) {
    if (!response || !status.startsWith('2')) continue;
    const description = 'The path of what the answer is about.';
    const header = { description, schema: { type: 'string', example: location } };
    response.headers = { ...response.headers, Location: header };
  }
}

/** How a request is repeated without harm. */
function describeKey(operation: DescribedOperation): void {
  operation.parameters = [
    ...(operation.parameters ?? []),
    {
      name: 'Idempotency-Key',
      in: 'header',
      required: false,
      description:
        `Makes a repetition harmless: within ${KEY_HOURS} hours the same request with the same key is answered like ` +
        'the first one that succeeded, and nothing is done again.',
      schema: { type: 'string', minLength: 1, maxLength: 256 },
    },
  ];
  for (const [status, response] of Object.entries(operation.responses)) {
    if (!response || !status.startsWith('2')) continue;
    const description =
      'There, and `true`, where the answer is that to an earlier request with the same key.';
    const header = { description, schema: { type: 'boolean' } };
    response.headers = { ...response.headers, 'Idempotency-Replayed': header };
  }
  addProblems(operation, KEY_PROBLEMS);
}

/** To those that the route itself has with the same status. */
function addProblems({ responses }: DescribedOperation, added: readonly ProblemCode[]): void {
  for (const [status, codes] of byStatus(added)) {
    responses[status] = problemResponse([...new Set([...codesIn(responses[status]), ...codes])]);
  }
}

/** The problems that an operation may answer with. */
export const problemsOf = ({ responses }: DescribedOperation): ProblemCode[] =>
  Object.values(responses).flatMap(codesIn);

function codesIn(response: DescribedResponse | undefined): ProblemCode[] {
  return Object.keys(response?.content?.['application/problem+json']?.examples ?? {}) as ProblemCode[];
}
