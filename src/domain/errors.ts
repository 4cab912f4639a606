export interface FieldError {
  /** Where in the request: `payload`, `events[3].event_type`, `query.limit`. */
  path: string;
  /** What is wrong and what would be right. */
  message: string;
}

/** Everything that Posthorn refuses, once: the stable `code` of a problem answer and its one-line title. */
export const PROBLEMS = {
  malformed_request: { status: 400, title: 'The request is not valid HTTP' },
  malformed_json: { status: 400, title: 'The body is not valid JSON' },
  loop_detected: { status: 422, title: 'The event was delivered too often already' },
  invalid_request: { status: 422, title: 'The request is not valid' },
  unauthorized: { status: 401, title: 'A valid API key is needed' },
  signature_invalid: { status: 401, title: 'The signature is not what the source wants' },
  forbidden: { status: 403, title: 'This key may not do that' },
  insufficient_scope: { status: 403, title: 'This key lacks the scope for that' },
  tenant_suspended: { status: 403, title: 'The tenant is suspended' },
  ip_not_allowed: { status: 403, title: 'This address may not use the key' },
  admin_key_not_configured: { status: 403, title: 'No operator key is configured' },
  not_found: { status: 404, title: 'Not found' },
  method_not_allowed: { status: 405, title: 'The path does not have this method' },
  request_timeout: { status: 408, title: 'The request did not arrive in time' },
  conflict: { status: 409, title: 'The request conflicts with the present state' },
  idempotency_conflict: { status: 409, title: 'The idempotency key was used with another body' },
  answer_not_kept: { status: 409, title: 'The answer to the first request is no longer kept' },
  request_in_progress: { status: 409, title: 'The first request with this idempotency key is not finished' },
  secret_unreadable: { status: 409, title: 'The secret cannot be decrypted' },
  payload_too_large: { status: 413, title: 'The request is too large' },
  unsupported_media_type: { status: 415, title: 'The content type is not supported' },
  overloaded: { status: 429, title: 'Too much work is waiting' },
  rate_limited: { status: 429, title: 'Too many requests' },
  headers_too_large: { status: 431, title: 'The headers are too large' },
  internal: { status: 500, title: 'Something went wrong on our side' },
  query_timeout: { status: 503, title: 'The request takes the database too long' },
  unavailable: { status: 503, title: 'The service cannot answer right now' },
} as const satisfies Record<string, { status: number; title: string }>;

export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemDetails {
  errors?: FieldError[];
  retryAfterSeconds?: number;
}

/** A refusal with a reason that a caller can act on. The HTTP layer turns it into RFC 9457 problem+json. */
export class Problem extends Error {
  readonly errors: FieldError[];
  readonly retryAfterSeconds: number | undefined;

  constructor(
    readonly code: ProblemCode,
    detail: string,
    { errors = [], retryAfterSeconds }: ProblemDetails = {},
  ) {
    super(detail);
    this.name = 'Problem';
    this.errors = errors;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export const invalidRequest = (errors: FieldError[]): Problem =>
  new Problem('invalid_request', errors.map((error) => `${error.path}: ${error.message}`).join('; '), {
    errors,
  });

export const notFound = (what: string, id: string): Problem =>
  new Problem('not_found', `There is no ${what} ${id}.`);
