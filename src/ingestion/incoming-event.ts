import { FieldError, invalidRequest, Problem } from '../domain/errors.js';
import { isEventType } from '../domain/event-type.js';
import { hiddenCharacterMessage } from '../domain/hidden-characters.js';
import { notKnown } from '../domain/nearest-name.js';
import { isIdempotencyKey, KEY_RULE } from '../domain/idempotency-key.js';
import { REPEATED } from '../domain/json-exactness.js';
import { elementSpans, memberSpans, Span } from '../domain/json-spans.js';

/** An event as it was handed in, checked. */
export interface IncomingEvent {
  eventType: string;
  /** The payload's own bytes, cut out of the request body. */
  payload: Buffer;
  /** The sender's own id of it. */
  eventId: string | null;
  idempotencyKey: string | null;
  /** Null when it was handed in with an API key: then it is JSON. */
  reception: Reception | null;
}

/** How an event came in by a source. */
export interface Reception {
  sourceId: string;
  /** As it was sent; null for application/json. */
  contentType: string | null;
  /** Whether the same key is the same event whatever else is in it: some senders say the time of each try. */
  isSameByKey: boolean;
}

/** What a request body calls the parts of an event. */
interface Shape {
  type: string;
  payload: string;
  known: readonly string[];
}

const EVENT: Shape = {
  type: 'event_type',
  payload: 'payload',
  known: ['event_type', 'payload', 'event_id', 'idempotency_key'],
};
const DIRECT: Shape = {
  type: 'event',
  payload: 'data',
  known: ['event', 'data', 'event_id', 'idempotency_key'],
};

const MAX_BATCH = 1_000;
/** Unknown fields that a refusal names: of an event by itself, and of each one in a batch, which may be a thousand. */
const MAX_UNKNOWN = { alone: 10, inBatch: 2 };
/** A client that may send events could else take the key of a delivery that a source has yet to receive. */
const SOURCE_PREFIX = 'source:';

/** The idempotency key of what a source receives. */
export const keyOfSource = (sourceId: string, deliveryId: string): string =>
  `${SOURCE_PREFIX}${sourceId}:${deliveryId}`;

export const isOfSource = (key: string): boolean => key.startsWith(SOURCE_PREFIX);

export const ofSource = (path: string): FieldError => ({
  path,
  message: `must not begin with ${SOURCE_PREFIX}, as the keys do of what sources receive`,
});

/** A JSON request body, as it came and parsed. */
export interface JsonBody {
  raw: Buffer;
  value: unknown;
}

/**
 * Reads the body of POST /events.
 * @throws Problem invalid_request naming each field that is wrong; payload_too_large
 */
export function readEvent(
  body: JsonBody,
  headerKey: string | undefined,
  maxPayloadBytes: number,
): IncomingEvent {
  return readOne(EVENT, body, wholeOf(body), '', headerKey, maxPayloadBytes);
}

/** Reads the body of POST /webhooks/ingest/{subscription_id}; fails like {@link readEvent}. */
export function readDirectEvent(
  body: JsonBody,
  headerKey: string | undefined,
  maxPayloadBytes: number,
): IncomingEvent {
  return readOne(DIRECT, body, wholeOf(body), '', headerKey, maxPayloadBytes);
}

/**
 * Reads the body of POST /events/batch: each event by itself, so that a bad one is a problem in its own place.
 * @throws Problem invalid_request when there is no list of 1 to 1,000 events at all
 */
export function readBatch({ raw, value }: JsonBody, maxPayloadBytes: number): (IncomingEvent | Problem)[] {
  const events = isObject(value) ? value['events'] : undefined;
  if (!isObject(value) || !Array.isArray(events)) {
    throw invalidRequest([{ path: 'events', message: 'must be a list of 1 to 1,000 events' }]);
  }
  const unknown = unknownFields(value, ['events'], '');
  if (unknown.length > 0) throw invalidRequest(unknown);
  if (events.length === 0 || events.length > MAX_BATCH) {
    throw invalidRequest([{ path: 'events', message: `must hold 1 to 1,000 events, not ${events.length}` }]);
  }
  const list = membersOf({ raw, span: wholeOf({ raw, value }), parent: '' }).get('events');
  const spans = list ? elementSpans(raw, list.start, list.end) : [];
  return events.map((event: unknown, index) => {
    const span = spans[index] as Span;
    try {
      return readOne(EVENT, { raw, value: event }, span, `events[${index}]`, undefined, maxPayloadBytes);
    } catch (error) {
      if (error instanceof Problem) return error;
      throw error;
    }
  });
}

/** How many events a body of POST /events/batch holds, right or wrong; 0 when it is no batch that could be accepted. */
export function eventsIn({ value }: JsonBody): number {
  const events = isObject(value) ? value['events'] : undefined;
  return Array.isArray(events) && events.length <= MAX_BATCH ? events.length : 0;
}

function readOne(
  shape: Shape,
  { raw, value }: JsonBody,
  span: Span,
  parent: string,
  headerKey: string | undefined,
  maxPayloadBytes: number,
): IncomingEvent {
  const at = (field: string) => within(parent, field);
  if (!isObject(value)) {
    throw invalidRequest([{ path: parent || 'body', message: 'must be a JSON object' }]);
  }
  const errors = unknownFields(value, shape.known, parent);
  const eventType = value[shape.type];
  if (!isEventType(eventType)) {
    errors.push({
      path: at(shape.type),
      message: 'must be 1 to 256 characters of A-Z a-z 0-9 . _ : / - and begin with a letter or digit',
    });
  }
  if (!(shape.payload in value)) {
    errors.push({ path: at(shape.payload), message: 'is missing; it may be any JSON value' });
  }
  const eventId = identifier(value['event_id'], at('event_id'), errors);
  const bodyKey = identifier(value['idempotency_key'], at('idempotency_key'), errors);
  const key = identifier(headerKey, 'Idempotency-Key', errors);
  if (key !== null && bodyKey !== null && key !== bodyKey) {
    errors.push({
      path: 'Idempotency-Key',
      message: `differs from ${at('idempotency_key')}; send one of the two`,
    });
  }
  if (errors.length > 0) throw invalidRequest(errors);

  const payload = membersOf({ raw, span, parent }).get(shape.payload) as Span;
  const bytes = payload.end - payload.start;
  if (bytes > maxPayloadBytes) {
    throw new Problem(
      'payload_too_large',
      `${at(shape.payload)} has ${bytes} bytes; at most ${maxPayloadBytes} are accepted (MAX_PAYLOAD_BYTES).`,
      { errors: [{ path: at(shape.payload), message: `must not exceed ${maxPayloadBytes} bytes` }] },
    );
  }
  return {
    eventType: eventType as string,
    payload: raw.subarray(payload.start, payload.end),
    eventId,
    idempotencyKey: bodyKey ?? key,
    reception: null,
  };
}

/**
 * Where the members of an object are that has known ones only. What is within a payload stays as it came.
 * @throws Problem invalid_request for one that is there twice: only the sender knows which one counts
 */
function membersOf({ raw, span, parent }: { raw: Buffer; span: Span; parent: string }): Map<string, Span> {
  const repeated = new Set<string>();
  const members = memberSpans(raw, span.start, span.end, (name) => repeated.add(name));
  if (repeated.size > 0) {
    throw invalidRequest([...repeated].map((name) => ({ path: within(parent, name), message: REPEATED })));
  }
  return members;
}

function identifier(value: unknown, path: string, errors: FieldError[]): string | null {
  if (value === undefined || value === null) return null;
  if (isIdempotencyKey(value)) {
    if (isOfSource(value)) errors.push(ofSource(path));
    return value;
  }
  errors.push({
    path,
    message: (typeof value === 'string' ? hiddenCharacterMessage(value) : null) ?? KEY_RULE,
  });
  return null;
}

/** The first ones: an event may have hundreds of thousands. */
function unknownFields(value: object, known: readonly string[], parent: string): FieldError[] {
  const errors: FieldError[] = [];
  const most = parent === '' ? MAX_UNKNOWN.alone : MAX_UNKNOWN.inBatch;
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue;
    errors.push({ path: within(parent, name.slice(0, 100)), message: notKnown(name, known) });
    if (errors.length === most) break;
  }
  return errors;
}

const within = (parent: string, field: string): string => (parent === '' ? field : `${parent}.${field}`);

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const wholeOf = ({ raw }: JsonBody): Span => ({ start: 0, end: raw.length });
