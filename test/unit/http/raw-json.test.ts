import { expect, it } from 'vitest';
import { withPayload } from '../../../src/http/raw-json.js';

const SOURCE = '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e';

it.each<[string, string | null, string | Buffer]>([
  ['no content type', null, '{"big": 12345678901234567890}'],
  ['JSON', 'application/json; charset=utf-8', ' [1.0] \n'],
  ['JSON in capitals', 'Application/JSON', 'null'],
  ['JSON of a kind', 'application/vnd.api+json;version=1', '"\\u0041"'],
])('shows %s that can be parsed as it came', (_, contentType, text) => {
  const shown = withPayload({ a: 1 }, { bytes: Buffer.from(text), contentType, sourceId: SOURCE });
  expect(shown.toString()).toBe(`{"a":1,"payload":${String(text)}}`);
});

it.each<[string, string | null, string | Buffer]>([
  ['JSON that cannot be parsed', 'application/json', '{"a":1,}'],
  ['two documents', null, '1} {"a":2'],
  ['nothing', 'application/json', ''],
  ['JSON in no UTF-8', 'application/json', Buffer.from([0x22, 0xe9, 0x22])],
  ['JSON that is nested too deep', 'application/json', '['.repeat(101) + ']'.repeat(101)],
  ['a form', 'application/x-www-form-urlencoded', '1'],
  ['what calls itself text', 'text/json', '1'],
  ['what begins like JSON', 'application/jsonl', '1'],
])('shows %s in base64', (_, contentType, content) => {
  const bytes = Buffer.from(content as string);
  const shown = JSON.parse(
    withPayload({ a: 1 }, { bytes, contentType, sourceId: SOURCE }).toString(),
  ) as unknown;
  expect(shown).toEqual({ a: 1, payload_base64: bytes.toString('base64') });
});

it('does not look at what was handed in with a key, which was parsed then', () => {
  const bytes = Buffer.from('['.repeat(101) + ']'.repeat(101));
  const shown = withPayload({ a: 1 }, { bytes, contentType: null, sourceId: null });
  expect(shown.toString()).toBe(`{"a":1,"payload":${bytes.toString()}}`);
});
