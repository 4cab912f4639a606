import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { judge, type Verdict } from '../../../../src/domain/providers/judge.js';
import type { ReceivedRequest } from '../../../../src/domain/providers/received-request.js';
import type { SourceSettings } from '../../../../src/domain/providers/source-settings.js';
import { AT_SECONDS, rulesOf, type Sender, SENDERS, sent } from './senders.js';

/** Header names in the docs stand for themselves, and so does what a source can be told to look at. */
const NAMING: SourceSettings = {
  event_type_header: 'event_type_header',
  delivery_id_header: 'delivery_id_header',
};
const LOOKED_AT_WHERE_SET = ['twilio', 'hmac', 'bearer', 'basic'];

/** Every header that may say something; a copy may have any value in it, or none. */
const HEADERS = [
  ...['x-github-event', 'x-github-delivery', 'x-gitlab-event', 'x-gitlab-event-uuid', 'x-shopify-topic'],
  ...['x-shopify-webhook-id', 'x-shopify-event-id', 'i-twilio-idempotency-token', 'idempotency-key'],
  ...['webhook-id', 'svix-id', 'x-webhook-event', 'x-webhook-hops', 'x-request-id', 'x-tenant-id'],
  ...['content-type', 'event_type_header', 'delivery_id_header'],
];

interface Row {
  senders: string[];
  takenFor: string;
  anotherEvent: string[] | 'anything';
  anotherType: string[] | 'anything';
}

const TABLE: Row[] = readFileSync(join(import.meta.dirname, '../../../../docs/providers.md'), 'utf8')
  .split('**What a copy can do.**')[1]!
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .map(([, senders, takenFor, anotherEvent, anotherType]) => ({
    senders: named(senders!),
    takenFor: takenFor!,
    anotherEvent: by(anotherEvent!),
    anotherType: by(anotherType!),
  }))
  .filter(({ takenFor }) => /secret holds|minutes|tolerance/.test(takenFor));

const rowOf = ({ name, provider }: Sender): Row =>
  TABLE.find(({ senders }) => senders.includes(name)) ??
  TABLE.find(({ senders }) => senders.includes(provider))!;

function by(cell: string): string[] | 'anything' {
  return cell === 'anything' ? cell : named(cell);
}

function named(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!.toLowerCase());
}

/** What copies with one other header are taken for, compared with the original. */
async function copiesOf(sender: Sender) {
  const settings = { ...sender.settings, ...(LOOKED_AT_WHERE_SET.includes(sender.provider) && NAMING) };
  const rules = { ...rulesOf(sender), settings };
  const original = await sent(sender);
  const verdictOf = (request: ReceivedRequest, later = 0): Verdict =>
    judge(request, rules, (AT_SECONDS + later) * 1_000);
  const first = verdictOf(original);
  if (first.kind !== 'event') throw new Error(first.kind);
  const [anotherEvent, anotherType] = [new Set<string>(), new Set<string>()];
  for (const header of HEADERS) {
    for (const value of ['another', undefined]) {
      const copy = verdictOf({ ...original, headers: { ...original.headers, [header]: value } });
      if (copy.kind !== 'event') continue;
      if (copy.deliveryId !== first.deliveryId || copy.repeatKey !== first.repeatKey)
        anotherEvent.add(header);
      if (copy.eventType !== first.eventType) anotherType.add(header);
    }
  }
  const isAlwaysAnother = first.deliveryId === null && first.repeatKey === null;
  return { anotherEvent, anotherType, isAlwaysAnother, late: verdictOf(original, 301).kind };
}

describe('docs/providers.md', () => {
  it.each(SENDERS)('is right about what a copy of a request can do, from $name', async (sender) => {
    const row = rowOf(sender);
    const { anotherEvent, anotherType, isAlwaysAnother, late } = await copiesOf(sender);
    expect(late).toBe(row.takenFor.includes('secret') ? 'event' : 'refused');
    expect(isAlwaysAnother).toBe(row.anotherEvent === 'anything');
    expectOnly(anotherEvent, row.anotherEvent);
    expectOnly(anotherType, row.anotherType);
  });
});

/** Of the headers that the docs name, one sender may have some: none is kept quiet, and none named in vain. */
function expectOnly(found: Set<string>, documented: string[] | 'anything'): void {
  if (documented === 'anything') return;
  expect(documented).toEqual(expect.arrayContaining([...found]));
  expect(found.size > 0).toBe(documented.length > 0);
}
