import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KeyRing } from '../../src/domain/encryption.js';
import { builtMain } from '../support/build.js';
import type { Client } from '../support/posthorn.js';
import { DataFolder } from '../support/process.js';

let folder: DataFolder;
let keyFile: string;

beforeAll(async () => {
  folder = await DataFolder.make();
  keyFile = join(folder.path, 'encryption-key');
});
afterAll(() => folder.remove());

/** `npm run reencrypt -- …args`, once built. */
async function reencrypt(...args: string[]): Promise<{ code: number; output: string }> {
  const program = join(dirname(await builtMain()), 'reencrypt.js');
  const env = { PATH: process.env['PATH'], DATA_DIR: folder.path };
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...args], { cwd: folder.path, env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr }),
    );
  });
}

it('changes the key of an embedded service, and a service without a key says so', async () => {
  const first = await folder.start();
  const { body } = await first.tenant.request('POST', '/subscriptions', {
    target_url: 'https://example.com',
  });
  await first.terminate();
  const old = (await readFile(keyFile, 'utf8')).trim();
  const [oldId, fresh] = [KeyRing.parse(old).firstId, KeyRing.generateKey()];
  const freshId = KeyRing.parse(fresh).firstId;

  await writeFile(keyFile, fresh);
  for (const { message } of [
    await folder.start().then(
      () => new Error('it started'),
      (error: unknown) => error as Error,
    ),
    { message: (await reencrypt()).output },
  ]) {
    expect(message).toContain(`an encryption key that was not given, by its id: ${oldId} (1 secret)`);
    for (const key of [old, fresh]) expect(message).not.toContain(key.slice(0, 12));
  }

  await writeFile(keyFile, `${fresh},${old}\n`);
  const changed = await reencrypt();
  expect(changed.code, changed.output).toBe(0);
  expect(changed.output).toContain('1 of 1 subscriptions');
  expect(changed.output).toContain(`Everything is under the key ${freshId} now.`);
  expect(changed.output).toContain(`take ${oldId} out of ENCRYPTION_KEY`);
  expect((await reencrypt()).output).toContain('the secrets of 0 subscriptions');

  await writeFile(keyFile, fresh);
  const next = await folder.start();
  const { body: told } = await next.tenant.request('GET', `/subscriptions/${body.id}/secret`);
  expect(told.secret).toBe(body.secret);
  await next.terminate();
});

it('a lost key stops everything before a new one is written, until what it protected is replaced', async () => {
  const first = await folder.start();
  expect(first.output()).toContain(`Encryption key in ${keyFile}`);
  const subscribe = (tenant: Client) =>
    tenant.request('POST', '/subscriptions', { target_url: 'https://example.com' });
  const { body } = await subscribe(first.tenant);
  await first.terminate();
  const old = await readFile(keyFile, 'utf8');
  await rm(keyFile);

  const stopped = await folder.start().then(
    () => expect.unreachable(),
    (error: unknown) => (error as Error).message,
  );
  const { code, output } = await reencrypt();
  expect(code).toBe(1);
  for (const message of [stopped, output]) {
    expect(message).toContain(`${keyFile} is missing, and nothing was written in its place. Put it back`);
    expect(message).toContain(KeyRing.parse(old.trim()).firstId);
  }
  expect(existsSync(keyFile)).toBe(false);

  const replaced = await reencrypt('--replace-lost');
  expect(replaced.code, replaced.output).toBe(0);
  const ids = /subscription (\S+) of tenant (\S+)/g;
  expect([...replaced.output.matchAll(ids)].map(([, id]) => id)).toContain(body.id);
  expect(replaced.output).toContain('a new secret, since theirs could not be decrypted');
  expect(await readFile(keyFile, 'utf8')).not.toBe(old);

  const next = await folder.start();
  const { body: told } = await next.tenant.request('GET', `/subscriptions/${body.id}/secret`);
  expect(told).toMatchObject({ secret: expect.stringMatching(/^whsec_/), previous_secret: null });
  expect(told.secret).not.toBe(body.secret);
  await next.terminate();
  expect((await reencrypt('--replace-lost')).output).toContain(
    'Gave 0 subscriptions and sources a new secret',
  );
});
