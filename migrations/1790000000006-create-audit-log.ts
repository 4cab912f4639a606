import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Who did what to which object. Nothing here refers to another table: entries outlive what they are about. */
export class CreateAuditLog1790000000006 implements MigrationInterface {
  readonly name = 'CreateAuditLog1790000000006';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      create table audit_log (
        id uuid constraint audit_log_pkey primary key,
        at timestamptz not null,
        -- Null: it is about the installation, and no tenant's business.
        tenant_id uuid,
        actor_kind text not null,
        actor_id uuid,
        -- As it was then: the key may be gone.
        actor_name text,
        action text not null,
        object_type text not null,
        object_id uuid,
        -- What came of it, where that is another object.
        new_id uuid,
        fields text[] not null,
        status_code integer,
        -- 'begun' until the answer is known, then 'ok' or the code of the problem.
        result text not null,
        ip text,
        user_agent text,
        -- Null where there was no request.
        request_id text
      );
      -- GET /audit of a tenant.
      create index audit_log_by_tenant on audit_log (tenant_id, id);
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('drop table audit_log');
  }
}
