import { describe, expect, it } from 'vitest';
import { assertScoped, UnscopedStatement } from '../../../src/persistence/tenant-scope.js';

describe('lets a statement pass that says whose rows it is about', () => {
  it.each([
    'select 1',
    'begin',
    'set local lock_timeout = 200',
    "select 1 from pg_class where relname = 'event'",
    'select count(*) from heartbeat where role = any ($1)',

    'select payload from event where tenant_id = $1 and id = $2',
    'select payload from event where id = $2 and $1 = tenant_id',
    'select e.id from event e where e.tenant_id = any ($1::uuid[])',
    'select e.id from event as e where e.tenant_id in ($1, $2)',
    'select id from event_20260110 where tenant_id = $1',
    'SELECT "SubscriptionEntity"."id" AS "SubscriptionEntity_id" FROM "subscription" "SubscriptionEntity" WHERE (("SubscriptionEntity"."tenant_id" = $1) AND ("SubscriptionEntity"."id" < $2)) ORDER BY "SubscriptionEntity_id" DESC LIMIT 51',
    'UPDATE "subscription" SET "is_active" = $1 WHERE ("tenant_id" = $2 AND "id" = $3)',
    'DELETE FROM "api_key" WHERE ("tenant_id" = $1)',
    'INSERT INTO "api_key"("id", "tenant_id", "name") VALUES ($1, $2, $3) RETURNING "created_at"',
    'select d.id from delivery d where d.tenant_id = $1 and ($2::uuid is null or d.id < $2)',
    "delete from event where (tenant_id = $1) and event_type = 'it''s ; (select * from delivery'",

    // A tenant's own row is known by its id.
    'select * from tenant where id = $1',
    'insert into tenant (id, name) values ($1, $2)',

    // Joined to what is scoped.
    'select a.error from delivery d join delivery_attempt a on a.delivery_id = d.id where d.tenant_id = $1 and d.id = $2',
    'select k.name from tenant t join api_key k on k.tenant_id = t.id where t.id = $1',
    'update delivery d set status = $2 where d.tenant_id = $1 and exists (select 1 from subscription s where s.id = d.subscription_id and s.tenant_id = d.tenant_id)',
    'with wanted as (select * from unnest($1::uuid[], $2::text[]) as w(tenant_id, key)) select k.key from wanted join idempotency_key k on k.tenant_id = wanted.tenant_id',
    'with input as (select $1::uuid as tenant_id) insert into event (id, tenant_id) select $2, tenant_id from input on conflict do nothing',

    'select id from event where -- whose?\n tenant_id = $1',

    'select 1 from delivery d where (d.tenant_id = $1::uuid) order by d.id',
    'select 1 from event e where e.tenant_id in ($1::uuid, $2) and e.id = any ($3::uuid[]) limit 5',
    'with a as (select $1::uuid as tenant_id), b as materialized (select * from a) select 1 from b as x join event e on e.tenant_id = x.tenant_id',
    'select c.* from unnest($1::uuid[]) with ordinality as w(tenant_id, n), lateral (select * from event e where e.tenant_id = w.tenant_id) c',
    'select 1 from (select $1::uuid as tenant_id) w join event e on w.tenant_id = e.tenant_id where e.id > $2',
    'insert into posthorn.public.event (id, tenant_id) values ($1, $2)',

    // A column with the name of a table.
    'select idempotency_key from event where tenant_id = $1 order by idempotency_key',
    'insert into event (tenant_id, idempotency_key) values ($1, $2) returning idempotency_key',

    'with w as (select $1::uuid as tenant_id, $2::text as idempotency_key) select 1 from w join idempotency_key k on k.tenant_id = w.tenant_id and k.key = w.idempotency_key',

    // Meant for all tenants, and says why.
    'select id from delivery where next_attempt_at <= now() /* all tenants: the sweep */',
    '/* all tenants: for the operator */ SELECT COUNT(1) FROM "tenant" "TenantEntity"',
    'select * from event where tenant_id = $1 and exists (select 1 from delivery where event_id = $2 /* all tenants: it is this event */)',

    // About tables.
    'lock table event in access exclusive mode; truncate idempotency_key_old',
    "alter table delivery attach partition delivery_20260110 for values from ('0') to ('1')",
    'create trigger t after insert or update or delete on event_20260110 for each row execute function f()',
  ])('%s', (text) => {
    expect(() => assertScoped(text)).not.toThrow();
    expect(() => assertScoped(text)).not.toThrow();
  });
});

describe('refuses a statement that leaves open whose rows it is about', () => {
  it.each([
    ['no condition', 'select * from event'],
    ['an id alone', 'select payload from event where id = $1'],
    ['a list of ids', 'update delivery d set status = $2 where d.id = any ($1)'],
    ['a partition', 'delete from delivery_20260110 where id = $1'],
    ['the default partition', 'delete from delivery_attempt_default'],
    ['a copy of a partition', 'select * from event_20260110_next'],
    ['a schema before it', 'select * from public.event where id = $1'],
    ['quotes and capitals', 'SELECT * FROM "event" "E" WHERE "E"."id" = $1'],
    ['no space', 'select*from event'],
    ['a list of tables', 'select 1 from heartbeat, event'],
    ['a list of tables with conditions', 'select 1 from heartbeat h join lane l on l.a = h.a, event'],
    ['a join in parentheses', 'select 1 from (heartbeat cross join event)'],
    ['a function', 'select 1 from unnest($1::uuid[]) e(id), lateral (select 1 from event) x'],
    ['the tenant among what is selected', 'select tenant_id from event where id = $1'],
    ['a comparison among what is selected', 'select tenant_id = $1 as is_own from event where id = $2'],
    ['several among what is selected', 'select id, true and tenant_id = $1 from event'],
    ['columns that are named anew', 'select 1 from event e (tenant_id)'],
    [
      'one half of a union under the same name',
      'select e.id from event e where e.tenant_id = $1 union select e.id from event e',
    ],
    ['the tenant among what is set', 'update subscription set tenant_id = $1 where id = $2'],
    ['the tenant in what it is ordered by', 'select id from event order by tenant_id = $1'],
    ['the tenant in a comment', 'select id from event /* where tenant_id = $1 */'],
    ['the tenant behind a comment', 'select id from event -- where tenant_id = $1'],
    ['the tenant in a string', "select id from event where event_type = 'tenant_id = $1'"],
    ['an alternative', 'select id from event where tenant_id = $1 or id = $2'],
    ['an alternative in parentheses', 'select id from event where (tenant_id = $1 or id = $2) and id > $3'],
    ['another tenant than this one', 'select id from event where tenant_id <> $1'],
    ['its contrary', 'select id from event where not (tenant_id = $1)'],
    ['its contrary without parentheses', 'select id from event where not tenant_id = $1'],
    ['a value that may be null', 'select id from event where coalesce(tenant_id = $1, true)'],
    ['later tenants', 'select id from event where tenant_id >= $1'],
    ['itself', 'select e.id from event e where e.tenant_id = e.tenant_id'],
    ['no column of another table', 'select id from event where tenant_id = tenant_id'],
    ['a comparison of the comparison', 'select 1 from delivery d where d.tenant_id = $1 is not false'],
    ['a test for null', 'select 1 from delivery d where d.tenant_id = $1 is null'],
    ['a comparison with another one', 'select 1 from delivery d where d.tenant_id = $1 = $2'],
    ['a parameter that is but a part', 'select 1 from delivery d where d.tenant_id = $1 || $2'],
    ['a part behind a type', 'select 1 from delivery d where d.tenant_id = $1::uuid[] is null'],
    ['a test of what is in parentheses', 'select 1 from delivery d where (d.tenant_id = $1) is null'],
    ['a test of a list', 'select 1 from delivery d where d.tenant_id in ($1, $2) is null'],
    ['itself in a list', 'select 1 from delivery d where d.tenant_id in ($1, d.tenant_id)'],
    ['itself in an array', 'select 1 from delivery d where d.tenant_id = any ($1 || d.tenant_id)'],
    [
      'tenants of an excused expression',
      'with t as (select id as tenant_id from tenant /* all tenants: x */) select d.* from t join delivery d on d.tenant_id = t.tenant_id',
    ],
    [
      'tenants of one made of it',
      'with t as (select id as tenant_id from tenant /* all tenants: x */), u as (select * from t) select d.* from u join delivery d on d.tenant_id = u.tenant_id',
    ],
    [
      'tenants of it under another name',
      'with t as (select id as tenant_id from tenant /* all tenants: x */) select d.* from t x join delivery d on d.tenant_id = x.tenant_id',
    ],
    [
      'tenants of an excused subquery',
      'select d.* from (select id as tenant_id from tenant /* all tenants: x */) t join delivery d on d.tenant_id = t.tenant_id',
    ],
    ['a table of nobody', 'select 1 from delivery d join heartbeat h on d.tenant_id = h.tenant_id'],
    ['rows of JSON', 'select 1 from json_each($1) j join delivery d on d.tenant_id = j.tenant_id'],
    [
      'an array of its own',
      'select 1 from event e, unnest(array[e.tenant_id]) u(tenant_id) where e.tenant_id = u.tenant_id',
    ],
    ['two of which neither is known', 'select 1 from event e join delivery d on d.tenant_id = e.tenant_id'],
    ['one of two', 'select 1 from event e, delivery d where d.tenant_id = $1'],
    [
      'one of two, joined otherwise',
      'select 1 from delivery d join event e on e.id = d.event_id where d.tenant_id = $1',
    ],
    ['one of two, by a column that both have', 'select 1 from delivery d, event e where tenant_id = $1'],
    [
      'attempts that are joined to nothing',
      'select 1 from delivery d, delivery_attempt a where d.tenant_id = $1',
    ],
    ['attempts by an id', 'select * from delivery_attempt where delivery_id = $1'],
    [
      'another table in a subquery',
      'select id from event where id in (select event_id from delivery where tenant_id = $1)',
    ],
    [
      'a subquery',
      'select id from event where tenant_id = $1 and exists (select from delivery d where d.event_id = $2)',
    ],
    [
      'a lateral subquery',
      'select c.* from unnest($1::uuid[]) e(id) cross join lateral (select count(*) from delivery d where d.event_id = e.id) c',
    ],
    [
      'one common table expression',
      'with a as (select id from event where tenant_id = $1), b as (delete from delivery where id = $2) select 1',
    ],
    ['one half of a union', 'select id from event where tenant_id = $1 union all select id from event'],
    ['the second statement', 'select 1; delete from event'],
    ['an insert without it', 'insert into subscription (id, name) values ($1, $2)'],
    ['an insert without columns', 'insert into event select * from unnest($1::uuid[])'],
    [
      'an insert of what is anybody’s',
      'insert into event (id, tenant_id) select id, tenant_id from delivery',
    ],
    ['a table made of rows', 'create table copy as select * from event'],
    ['a table made of rows in parentheses', 'create table copy as (select * from event)'],
    ['a table made of a whole one', 'create table copy as table event'],
    ['a database and a schema before it', 'select * from posthorn.public.event'],
    ['a whole table', 'table event'],
    ['an export', 'copy event to stdout'],
    ['a block of code', 'do $$ begin delete from event; end $$'],
    ['a tenant by its name', 'select * from tenant where name = $1'],
    ['no reason', 'select * from event /* all tenants */'],
    ['an empty reason', 'select * from event /* all tenants: */'],
    ['a reason in a string', "select * from event where event_type = '/* all tenants: no */'"],
    ['a reason in other parentheses', 'select * from event where id in (select $1 /* all tenants: no */)'],
    ['a reason in another statement', 'select 1 from lane /* all tenants: yes */; select * from event'],
  ])('%s', (_, text) => {
    expect(() => assertScoped(text)).toThrow(UnscopedStatement);
    expect(() => assertScoped(text)).toThrow(UnscopedStatement);
  });
});
