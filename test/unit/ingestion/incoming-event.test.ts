import { describe, expect, it } from 'vitest';
import { Problem } from '../../../src/domain/errors.js';
import { readBatch, readDirectEvent, readEvent } from '../../../src/ingestion/incoming-event.js';

const LIMIT = 1_000;
const body = (text: string) => ({ raw: Buffer.from(text), value: JSON.parse(text) as unknown });

function problemOf(read: () => unknown): Problem {
  try {
    read();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('No problem was found');
}

describe('readEvent', () => {
  it.each([
    '{"id":12345678901234567890123}',
    '{ "b" : 1.0,\n\t"a":"\\u00e9\\/\\ud83d\\ude00" }',
    '[1,  2.50, 1e400, -0]',
    '"text"',
    'null',
    'false',
    '{"payload":{"payload":1},"event_type":"inner"}',
    '{"payload":1,"payload":2}',
    '"€ 😀"',
  ])('keeps the bytes of the payload %s', (payload) => {
    const event = readEvent(
      body(`{"x":1,"event_type":"a.b","payload" : ${payload} \n}`.replace('"x":1,', '')),
      undefined,
      LIMIT,
    );
    expect(event.payload.toString()).toBe(payload);
  });

  it.each([
    ['[]', ['body']],
    ['"text"', ['body']],
    ['null', ['body']],
    ['{}', ['event_type', 'payload']],
    ['{"event_type":"a"}', ['payload']],
    ['{"payload":1}', ['event_type']],
    ['{"event_type":"","payload":1}', ['event_type']],
    ['{"event_type":"white space","payload":1}', ['event_type']],
    ['{"event_type":"nul\\u0000","payload":1}', ['event_type']],
    [`{"event_type":"${'x'.repeat(257)}","payload":1}`, ['event_type']],
    ['{"event_type":7,"payload":1}', ['event_type']],
    ['{"event_type":"a","payload":1,"extra":1}', ['extra']],
    ['{"event_type":"a","payload":1,"event_id":7}', ['event_id']],
    ['{"payload":1,"event_type":"a","payload":{"second":true}}', ['payload']],
    ['{"event_type":"a","payload":1,"event_typ\\u0065":"b","payload":1}', ['event_type', 'payload']],
    ['{"event_type":"a","payload":1,"event_id":""}', ['event_id']],
    ['{"event_type":"a","payload":1,"idempotency_key":"\\u0000"}', ['idempotency_key']],
    ['{"event_type":"a","payload":1,"idempotency_key":"\\ud800"}', ['idempotency_key']],
    ['{"event_type":"a","payload":1,"idempotency_key":"source:1:2"}', ['idempotency_key']],
    ['{"event_type":"a","payload":1,"event_id":"source:1:2"}', ['event_id']],
  ])('refuses %s and names the field', (text, paths) => {
    const problem = problemOf(() => readEvent(body(text), undefined, LIMIT));
    expect(problem.code).toBe('invalid_request');
    expect(problem.errors.map(({ path }) => path)).toEqual(paths);
  });

  it('takes the key from the header, and refuses two different keys', () => {
    const text = '{"event_type":"a","payload":1,"idempotency_key":"k"}';
    expect(readEvent(body('{"event_type":"a","payload":1}'), 'h', LIMIT).idempotencyKey).toBe('h');
    expect(readEvent(body(text), 'k', LIMIT).idempotencyKey).toBe('k');
    expect(problemOf(() => readEvent(body(text), 'h', LIMIT)).errors[0]?.path).toBe('Idempotency-Key');
  });

  it('counts the bytes of the payload, to the last one', () => {
    const of = (bytes: number) => body(`{"event_type":"a","payload":"${'x'.repeat(bytes - 2)}"}`);
    expect(readEvent(of(LIMIT), undefined, LIMIT).payload).toHaveLength(LIMIT);
    expect(problemOf(() => readEvent(of(LIMIT + 1), undefined, LIMIT)).code).toBe('payload_too_large');
  });
});

describe('readDirectEvent', () => {
  it('calls the parts event and data', () => {
    const event = readDirectEvent(body('{"event":"user.created","data":{"id": 1}}'), undefined, LIMIT);
    expect(event).toMatchObject({ eventType: 'user.created' });
    expect(event.payload.toString()).toBe('{"id": 1}');
    expect(
      problemOf(() => readDirectEvent(body('{"event_type":"a"}'), undefined, LIMIT)).errors.map(
        ({ path }) => path,
      ),
    ).toEqual(['event_type', 'event', 'data']);
  });
});

describe('readBatch', () => {
  it('names few unknown fields of each event', () => {
    const event = JSON.stringify(
      Object.fromEntries(Array.from({ length: 20 }, (_, index) => [`x${index}`, 1])),
    );
    const [batched] = readBatch(body(`{"events":[${event}]}`), LIMIT) as [Problem];
    const unknown = ({ errors }: Problem) =>
      errors.filter(({ message }) => message.startsWith('is not a known'));
    expect(unknown(batched)).toHaveLength(2);
    expect(unknown(problemOf(() => readEvent(body(event), undefined, LIMIT)))).toHaveLength(10);
  });

  it('reads each event by itself, a bad one being a problem in its place', () => {
    const events = readBatch(
      body(
        '{"events": [ {"event_type":"a","payload":{"n": 1}} , 7, {"event_type":"b"}, {"event_type":"c","payload":[ ]}, {"event_type":"d","payload":1,"payload":1}]}',
      ),
      LIMIT,
    );
    expect(
      events.map((event) => (event instanceof Problem ? event.errors[0]?.path : event.payload.toString())),
    ).toEqual(['{"n": 1}', 'events[1]', 'events[2].payload', '[ ]', 'events[4].payload']);
  });

  it.each([
    ['[]'],
    ['{}'],
    ['{"events":{}}'],
    ['{"events":[]}'],
    ['{"events":[1],"more":1}'],
    ['{"events":[1],"events":[2]}'],
    [JSON.stringify({ events: Array(1001).fill(1) })],
  ])('refuses %.40s as a whole', (text) => {
    expect(problemOf(() => readBatch(body(text), LIMIT)).code).toBe('invalid_request');
  });
});
