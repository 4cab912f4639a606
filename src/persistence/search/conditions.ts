import type { DeliveryFilter, EventFilter, PayloadValue } from './delivery-filter.js';
import type { Parameters } from './parameters.js';

/** The part of the event's row that a delivery's conditions need. By event_pkey: nothing else has the id alone. */
export const eventOf = (tenant: string): string =>
  `from event e where e.id = d.event_id and (e.tenant_id = ${tenant}) is true`;

/** What a delivery `d` must be, but for its payload; the cheap conditions come first. */
export function deliveryConditions(filter: DeliveryFilter, parameters: Parameters, tenant: string): string {
  const { statuses, eventTypes, subscriptionId, sourceId, eventIds, statusCodes, error } = filter;
  const add = (value: unknown, type: string) => parameters.add(value, type);
  const conditions = ['d.tenant_id = ' + tenant];
  if (statuses) conditions.push(`d.status = any (${add(statuses, 'text[]')})`);
  if (subscriptionId !== undefined) conditions.push(`d.subscription_id = ${add(subscriptionId, 'uuid')}`);
  if (eventIds) conditions.push(`d.event_id = any (${add(eventIds, 'uuid[]')})`);
  if (statusCodes) {
    const { least, greatest } = statusCodes;
    conditions.push(`d.last_status_code between ${add(least, 'int')} and ${add(greatest, 'int')}`);
  }
  if (eventTypes) conditions.push(typeCondition(eventTypes, parameters));
  if (error !== undefined) {
    conditions.push(`d.last_error ilike ${add(`%${escaped(error)}%`, 'text')}`);
  }
  if (sourceId !== undefined) {
    conditions.push(`(select e.source_id = ${add(sourceId, 'uuid')} ${eventOf(tenant)})`);
  }
  return `(${conditions.join(' and ')}) is true`;
}

/** What an event `e` must be. */
export function eventConditions(filter: EventFilter, parameters: Parameters, tenant: string): string {
  const { eventType, sourceId, ids } = filter;
  const conditions = ['e.tenant_id = ' + tenant];
  if (eventType !== undefined) conditions.push(`e.event_type = ${parameters.add(eventType, 'text')}`);
  if (sourceId !== undefined) conditions.push(`e.source_id = ${parameters.add(sourceId, 'uuid')}`);
  if (ids) conditions.push(`e.id = any (${parameters.add(ids, 'uuid[]')})`);
  return `(${conditions.join(' and ')}) is true`;
}

function typeCondition(patterns: readonly string[], parameters: Parameters): string {
  const types = patterns.filter((pattern) => !pattern.includes('*'));
  const likes = patterns
    .filter((pattern) => pattern.includes('*'))
    .map((pattern) => pattern.split('*').map(escaped).join('_%'));
  if (likes.length === 0) return `d.event_type = any (${parameters.add(types, 'text[]')})`;
  if (types.length === 0) return `d.event_type like any (${parameters.add(likes, 'text[]')})`;
  return `(d.event_type = any (${parameters.add(types, 'text[]')}) or d.event_type like any (${parameters.add(likes, 'text[]')}))`;
}

/** For `like`: the character itself and not what it stands for. */
const escaped = (text: string): string => text.replace(/[\\%_]/g, '\\$&');

/**
 * What the payload of an event `e` must hold. Most payloads need not be read as JSON for it: without a backslash
 * nothing in them can be written in two ways, so the text itself must be there.
 */
export function payloadConditions(values: readonly PayloadValue[], parameters: Parameters): string {
  const lists = [
    values.map(({ path }) => path.join('.')),
    values.map(({ equals }) => (equals === null ? 'null' : typeof equals)),
    values.map(({ equals }) => (typeof equals === 'string' ? equals : JSON.stringify(equals))),
  ].map((list) => parameters.add(list, 'text[]'));
  const strings = values.filter(({ equals }) => typeof equals === 'string' && isPlain(equals));
  const isThere = strings.map(
    ({ equals }) => `position(${parameters.add(Buffer.from(equals as string), 'bytea')} in e.payload) > 0`,
  );
  const mayHold =
    isThere.length === 0 ? [] : [`(position('\\x5c'::bytea in e.payload) > 0 or (${isThere.join(' and ')}))`];
  return `case when ${[...mayHold, 'true'].join(' and ')} then payload_has_all(e.payload, ${lists.join(', ')}) else false end`;
}

/** Whether JSON can hold it without a backslash. */
const isPlain = (text: string): boolean => !/["\\\p{Cc}\p{Cs}]/u.test(text);
