import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { createDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import {
  type RedisCluster,
  type RedisSentinel,
  startRedisCluster,
  startRedisSentinel,
} from '../support/redis-cluster.js';
import { type RedisServer, startRedis } from '../support/redis.js';

const LOGIN = 'somebody:topsecret-password@';

describe('a Redis that refuses the login is said to, without the password', () => {
  let main: string;
  let database: { url: string; drop(): Promise<void> };
  let server: RedisServer;
  let cluster: RedisCluster;
  let sentinel: RedisSentinel;

  beforeAll(async () => {
    main = await builtMain();
    database = await createDatabase();
    [server, cluster, sentinel] = await Promise.all([
      startRedis(),
      startRedisCluster(3),
      startRedisSentinel(),
    ]);
  });
  afterAll(async () => {
    await Promise.all([server.stop(), cluster.stop(), sentinel.stop()]);
    await database.drop();
  });

  it.each([
    ['by a server', () => server.url.replace('://', `://${LOGIN}`)],
    ['by the nodes of a cluster', () => cluster.url.replace('://', `://${LOGIN}`)],
    ['by the primary', () => sentinel.url.replace('://', `://${LOGIN}`)],
    [
      'by the Sentinels',
      () => `${sentinel.url}?sentinel_username=somebody&sentinel_password=topsecret-password`,
    ],
  ])(
    '%s',
    async (_, redisUrl) => {
      const child = spawn(process.execPath, [main], {
        env: {
          PATH: process.env['PATH'],
          ROLE: 'worker',
          PORT: '0',
          DATABASE_URL: database.url,
          ENCRYPTION_KEY,
          REDIS_URL: redisUrl(),
        },
      });
      let output = '';
      child.stdout.on('data', (text: Buffer) => (output += text.toString()));
      child.stderr.on('data', (text: Buffer) => (output += text.toString()));
      const code = await new Promise((resolve) => child.on('exit', resolve));
      expect(code).toBe(1);
      expect(output).toContain('Check the user and password in REDIS_URL');
      expect(output).not.toContain('topsecret-password');
    },
    30_000,
  );
});
