import type { MigrationInterface, QueryRunner } from 'typeorm';

/** POST /webhooks/search, GET /deliveries and GET /events by what people filter by, newest first. */
export class IndexWhatIsSearched1790000000008 implements MigrationInterface {
  readonly name = 'IndexWhatIsSearched1790000000008';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      -- By event type. On events: they are written once, deliveries at least three times.
      create index event_by_type on event (tenant_id, event_type, id);
      -- By source.
      create index event_by_source on event (source_id, id) where source_id is not null;
      -- By a status that is not terminal. Nobody else asks for completed_at in these words: with the words of the
      -- engine, next_attempt_at is not null, this index was chosen for claims and sweeps, which know no tenant.
      create index delivery_open on delivery (tenant_id, id) where completed_at is null;
      -- By status code and by what the error says: few deliveries end with one.
      create index delivery_failed on delivery (tenant_id, id) where last_error is not null or last_status_code >= 300;
      -- By the status that the fewest have. Not by the status itself: a claim, which sets that, would no longer be a
      -- heap-only update.
      alter table delivery add column cancelled_at timestamptz;
      update delivery set cancelled_at = completed_at where status = 'cancelled';
      create index delivery_cancelled on delivery (tenant_id, id) where cancelled_at is not null;
    `);
    await queryRunner.query(PAYLOAD_HAS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      drop function payload_has(bytea, text[], text, text);
      drop index event_by_type, event_by_source, delivery_open, delivery_failed, delivery_cancelled;
      alter table delivery drop column cancelled_at;
    `);
  }
}

/**
 * Whether the JSON text in a payload has that value at that path: false as well for whatever is no JSON, and for what
 * PostgreSQL cannot read. Of type json, which leaves numbers and members as they are until they are asked for. What JSON
 * can say and text cannot hold, NUL and halves of surrogate pairs, becomes U+FFFD in a second try. Numbers are equal
 * when they are as those of JavaScript.
 */
const PAYLOAD_HAS = String.raw`
  create function payload_has(payload bytea, path text[], kind text, value text) returns boolean
    language plpgsql immutable strict parallel safe as $$
  declare
    document text := null;
    found json;
  begin
    document := convert_from(payload, 'UTF8');
    begin
      found := document::json #> path;
    exception when others then
      found := regexp_replace(document, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\ufffd', 'gi')::json #> path;
    end;
    if found is null or json_typeof(found) <> kind then
      return false;
    end if;
    return case kind when 'null' then true
                     when 'number' then (found #>> '{}')::float8 = value::float8
                     else found #>> '{}' = value end;
  exception when others then
    return false;
  end $$`;
