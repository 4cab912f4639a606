import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * POST /webhooks/search by values in payloads: all conditions of a search on one payload at once. `payload_has` stays for
 * processes of the version before, which may run beside this one while they are replaced.
 */
export class MatchPayloadValues1790000000015 implements MigrationInterface {
  readonly name = 'MatchPayloadValues1790000000015';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(PAYLOAD_HAS_ALL);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop function payload_has_all(bytea, text[], text[], text[])');
  }
}

/**
 * Whether the JSON text in a payload has each of the values at its path, whose names have dots between: false as well for
 * whatever is no JSON, and for what PostgreSQL cannot read. Its cost is linear in the payload, whatever that holds:
 *
 * - One value is found in one pass, of type json, which builds nothing. For several the payload is parsed once, as jsonb,
 *   in which each is then found without reading the rest.
 * - What JSON can say and text cannot hold makes the first try fail, and is replaced for a second and last one: NUL by
 *   U+FFFD, halves of surrogate pairs by U+E800 and following (pairs as well, in such a payload). Escaped backslashes are
 *   written otherwise before, so that no other backslash is taken for the beginning of an escape. Plain replacements,
 *   since a regular expression takes a microsecond for each character here.
 *
 * Numbers are equal when they are as those of JavaScript. A cancelled statement is not among `others`.
 */
const PAYLOAD_HAS_ALL = String.raw`
  create function payload_has_all(payload bytea, paths text[], kinds text[], wanted text[]) returns boolean
    language plpgsql immutable strict parallel safe as $$
  declare
    document text := null;
    is_single boolean := cardinality(paths) = 1;
    single json := null;
    whole jsonb := null;
    found jsonb := null;
    is_equal boolean := null;
  begin
    document := convert_from(payload, 'UTF8');
    for attempt in 1 .. 2 loop
      begin
        if is_single then
          single := document::json #> string_to_array(paths[1], '.');
        else
          whole := document::jsonb;
        end if;
        exit;
      exception when untranslatable_character or invalid_text_representation then
        if attempt = 2 or position('\u' in document) = 0 then
          return false;
        end if;
        document := replace(document, '\\', '\u005c');
        document := replace(document, '\u0000', '\ufffd');
        document := replace(replace(document, '\ud', '\ue'), '\uD', '\ue');
      end;
    end loop;
    if is_single then
      if single is null or json_typeof(single) <> kinds[1] then
        return false;
      end if;
      whole := single::jsonb;
    end if;
    for i in 1 .. cardinality(paths) loop
      found := case when is_single then whole else whole #> string_to_array(paths[i], '.') end;
      if found is null or jsonb_typeof(found) <> kinds[i] then
        return false;
      end if;
      is_equal := case kinds[i] when 'null' then true
                                when 'number' then (found #>> '{}')::float8 = wanted[i]::float8
                                else found #>> '{}' = wanted[i] end;
      if not is_equal then
        return false;
      end if;
    end loop;
    return true;
  exception when others then
    return false;
  end $$;`;
