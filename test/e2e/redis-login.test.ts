import { spawn } from 'node:child_process';
import { expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { createDatabase } from '../support/database.js';
import { startRedis } from '../support/redis.js';

it('a Redis that refuses the login is said to, without the password', async () => {
  const main = await builtMain();
  const database = await createDatabase();
  const redis = await startRedis();
  const url = new URL(redis.url);
  url.username = 'somebody';
  url.password = 'topsecret-password';
  const child = spawn(process.execPath, [main], {
    env: {
      PATH: process.env['PATH'],
      ROLE: 'worker',
      PORT: '0',
      DATABASE_URL: database.url,
      REDIS_URL: url.href,
    },
  });
  let output = '';
  child.stdout.on('data', (text: Buffer) => (output += text.toString()));
  child.stderr.on('data', (text: Buffer) => (output += text.toString()));
  const code = await new Promise((resolve) => child.on('exit', resolve));
  await redis.stop();
  await database.drop();
  expect(code).toBe(1);
  expect(output).toContain('Check the user and password in REDIS_URL');
  expect(output).not.toContain('topsecret-password');
}, 30_000);
