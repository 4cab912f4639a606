import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Whether a subscription's target has answered the challenge that the operator may require. */
export class AddTargetVerification1790000000026 implements MigrationInterface {
  readonly name = 'AddTargetVerification1790000000026';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      alter table subscription
        add column verification text not null default 'not_required',
        add column verification_reason text,
        add column verification_at timestamptz;
      -- The sweep: challenges that were not sent yet.
      create index subscription_unverified on subscription (id) where verification = 'pending';
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      alter table subscription
        drop column verification, drop column verification_reason, drop column verification_at;
    `);
  }
}
