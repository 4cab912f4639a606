import type { PayloadValue } from './delivery-filter.js';
import { deliveryConditions, eventConditions, eventOf, payloadConditions } from './conditions.js';
import type { Arm } from './drivers.js';
import { type IdRange, idsOfMillisecond, predecessor } from './id-range.js';
import { Parameters } from './parameters.js';
import type { Direction, Interval, StepRequest } from './step-request.js';

/** Deliveries of the events of one step, an entry of an arm, but for those of the last event. */
const DELIVERIES_AN_ENTRY = 5;
/**
 * Of the payloads that one step looks into, but for the last one: so many for each entry, and no more than the other. The
 * worst payloads of a mebibyte (test/integration/search-budget.test.ts) took up to 0.2 s for one value and up to 0.8 s for
 * five, on two busy cores (docs/decisions/0031-reads-have-a-budget.md); a step that takes too long is cancelled.
 */
const BYTES_AN_ENTRY = 2_600;
const MAX_BYTES = 2 * 1_048_576;
/** Larger payloads are not looked into at all. */
const MAX_PAYLOAD_BYTES = 1_048_576;
/** Bytes that take as long to read as it takes to begin with a payload. */
const BYTES_A_PAYLOAD = 2_000;

const DELIVERY_COLUMNS = 'd.id, d.event_id, d.status, d.event_type, d.created_at';

/** The words that differ with the direction. */
const WORDS = {
  older: { order: 'desc', backwards: 'asc', until: '>', rest: '-ffff-ffff-ffffffffffff' },
  newer: { order: 'asc', backwards: 'desc', until: '<', rest: '-0000-0000-000000000000' },
} as const satisfies Record<Direction, object>;

/**
 * The statement of a step. Its common table expressions: `entry`, what the arms hold; `last`, where the first of them
 * may have more, at most one row; `candidate`, the rows wanted, up to there; `hit`, those that fit; `unseen`, the first
 * one that was not looked into, at most one row.
 *
 * Ids are compared together with the one column that stands before them in the index. With that for a constant the planner
 * would trust its statistics, and might walk the primary key through everybody's rows. Where there are two, it is the pairs
 * that would lead it into event_by_tenant. What has to stay no more than a condition is
 * followed by `is true`, so that no index is chosen for it and no join is made of it.
 */
export function stepStatement(request: StepRequest): { text: string; values: unknown[] } {
  const { tenantId, wanted, driver, direction, limit, countBy } = request;
  const { order } = WORDS[direction];
  const parameters = new Parameters();
  const tenant = parameters.add(tenantId, 'uuid');
  const isDelivery = wanted.kind === 'delivery';
  const fits = isDelivery
    ? deliveryConditions(wanted.filter, parameters, tenant)
    : eventConditions(wanted.filter, parameters, tenant);
  const context = { ...request, parameters, tenant, fits };
  const candidates = driver.table === wanted.kind ? rowsOfDriver(context) : deliveriesOfEvents(context);
  const payload = (isDelivery && wanted.filter.payload) || [];
  const hits =
    payload.length > 0
      ? hitsByPayload(payload, context)
      : 'unseen as (select null::uuid as id), hit as materialized (select * from candidate where fits)';
  return {
    text: `with ${candidates}, ${hits}
      select (select id from last)::text as last, (select id from unseen)::text as unseen,
        array(select id from hit order by id ${order} limit ${limit})::text[] as ids,
        ${countBy === null || !isDelivery ? 'null' : countsBy(countBy)} as counts
      /* all tenants: each arm and each condition names this one */`,
    values: parameters.values,
  };
}

interface Context extends StepRequest {
  parameters: Parameters;
  /** What stands for the tenant's id in the text, and for the condition of a row. */
  tenant: string;
  fits: string;
}

function rowsOfDriver(context: Context): string {
  const { driver, range, fits, size, direction } = context;
  const { order, backwards, until } = WORDS[direction];
  const columns = driver.table === 'delivery' ? DELIVERY_COLUMNS : 'e.id';
  return `
    entry as materialized (${entriesOf(context, `${columns}, ${fits} as fits`, range)}),
    last as (select id from (${lastOfFullArms(size, backwards)}) l order by id ${order} limit 1),
    candidate as (select * from entry where (id ${until}= (select id from last)) is not false)`;
}

function deliveriesOfEvents(context: Context): string {
  const { parameters, tenant, range, fits, size, direction } = context;
  const { order, backwards, until, rest } = WORDS[direction];
  const events = {
    low: idsOfMillisecond(range.low).low,
    high: idsOfMillisecond(predecessor(range.high)).high,
  };
  return `
    entry as materialized (${entriesOf(context, 'e.id, e.delivery_count', events)}),
    last as (
      select id from (
        ${lastOfFullArms(size, backwards)}
        union all
        select id from (
          select id, sum(delivery_count) over (order by id ${order}) - delivery_count as before from entry
        ) e where before >= ${size * DELIVERIES_AN_ENTRY}
      ) l order by id ${order} limit 1),
    candidate as (
      select ${DELIVERY_COLUMNS}, ${fits} as fits
      from (
        select distinct left(id::text, 13) as moment from entry
        where (id ${until} (select (left(id::text, 13) || '${rest}')::uuid from last)) is not false
      ) m cross join lateral (
        select * from delivery d
        where (d.tenant_id, d.id) >= (${tenant}, (m.moment || '${WORDS.newer.rest}')::uuid)
          and (d.tenant_id, d.id) <= (${tenant}, (m.moment || '${WORDS.older.rest}')::uuid)
      ) d
      where (d.id >= ${parameters.add(range.low, 'uuid')} and d.id < ${parameters.add(range.high, 'uuid')}) is true
        and (d.event_id in (select id from entry)) is true)`;
}

function hitsByPayload(
  payload: readonly PayloadValue[],
  { parameters, tenant, direction, size, driver }: Context,
): string {
  const { order } = WORDS[direction];
  const bytes = Math.min(size * driver.arms.length * BYTES_AN_ENTRY, MAX_BYTES);
  return `
    weighed as materialized (
      select d.*, e.weight, sum(e.weight) over (order by d.id ${order}) - e.weight as before
      from candidate d cross join lateral (
        select octet_length(e.payload) + ${BYTES_A_PAYLOAD} as weight ${eventOf(tenant)}
          and octet_length(e.payload) <= ${MAX_PAYLOAD_BYTES}
          and (e.content_type is null or e.content_type ilike '%json%')) e
      where d.fits),
    unseen as (select id from weighed where before >= ${bytes} order by id ${order} limit 1),
    hit as materialized (
      select d.* from weighed d where d.before < ${bytes}
        and (select ${payloadConditions(payload, parameters)} ${eventOf(tenant)}))`;
}

/** What the arms hold of the range, each in the order of its index. Arms of one shape share a query. */
export function entriesOf(
  {
    driver: { table, arms },
    parameters,
    size,
    direction,
  }: Pick<Context, 'driver' | 'parameters' | 'size' | 'direction'>,
  selected: string,
  range: IdRange,
): string {
  const alias = table === 'delivery' ? 'd' : 'e';
  const { order } = WORDS[direction];
  const [low, high] = [parameters.add(range.low, 'uuid'), parameters.add(range.high, 'uuid')];
  const shapes = [...new Set(arms.map(({ where }) => where))];
  return shapes
    .map((where, shape) => {
      const alike = arms.filter((arm) => arm.where === where);
      const { key } = alike[0] as Arm;
      const values = key.map(({ type }, at) =>
        parameters.add(
          alike.map((arm) => arm.key[at]?.value),
          `${type}[]`,
        ),
      );
      const names = key.map((_, at) => `key_${at}`);
      const columns = key.map(({ column }) => `${alias}.${column}`);
      const own = [...columns, `${alias}.id`].join(', ');
      const bounded =
        key.length === 1
          ? `(${own}) >= (a.key_0, ${low}) and (${own}) < (a.key_0, ${high})`
          : [
              ...columns.map((column, at) => `${column} = a.key_${at}`),
              `${alias}.id >= ${low} and ${alias}.id < ${high}`,
            ].join(' and ');
      const inOrder = key.length === 1 ? [...columns, `${alias}.id`] : [`${alias}.id`];
      return `
        select ${shape} as shape, a.arm, c.*
        from unnest(${values.join(', ')}) with ordinality as a(${names.join(', ')}, arm) cross join lateral (
          select ${selected} from ${table} ${alias}
          where ${bounded}${where === undefined ? '' : ` and ${where}`}
          order by ${inOrder.map((column) => `${column} ${order}`).join(', ')} limit ${size}) c`;
    })
    .join(' union all ');
}

const lastOfFullArms = (size: number, backwards: string): string =>
  `select (array_agg(id order by id ${backwards}))[1] as id from entry group by shape, arm having count(*) >= ${size}`;

/** As JSON: see Count. A delivery's created_at is the time in its id. */
function countsBy(interval: Interval): string {
  const at = `date_trunc('${interval}', created_at)`;
  return `(
    select json_agg(g) from (
      select case when grouping(status) = 0 then 'status' when grouping(event_type) = 0 then 'event_type'
               else 'at' end as what,
             coalesce(status, event_type, (extract(epoch from ${at}) * 1000)::bigint::text) as value,
             count(*)::int as count
      from hit group by grouping sets ((status), (event_type), (${at}))) g)`;
}
