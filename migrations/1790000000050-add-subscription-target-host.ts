import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * The host that a subscription counts at, for the limit of subscriptions to one host. Rows from before get the host as
 * it is written: without case, port, user name and final dots.
 */
export class AddSubscriptionTargetHost1790000000050 implements MigrationInterface {
  readonly name = 'AddSubscriptionTargetHost1790000000050';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`
      alter table subscription add column target_host text;
      update subscription
      set target_host = lower(rtrim(substring(target_url from '^[A-Za-z]+://(?:[^/?#@]*@)?(\\[[^\\]]*\\]|[^/?#:]*)'), '.'));
    `);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('alter table subscription drop column target_host');
  }
}
