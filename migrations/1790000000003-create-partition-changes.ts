import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Which rows of a partition change while it is being copied. The trigger is put on that partition meanwhile. */
export class CreatePartitionChanges1790000000003 implements MigrationInterface {
  readonly name = 'CreatePartitionChanges1790000000003';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table partition_change (key uuid not null);

      -- Its argument names the column that is the key.
      create function note_partition_change() returns trigger language plpgsql as $$
      begin
        insert into partition_change values
          ((to_jsonb(case when tg_op = 'DELETE' then old else new end) ->> tg_argv[0])::uuid);
        return null;
      end $$;
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      drop function note_partition_change() cascade;
      drop table partition_change;
    `);
  }
}
