import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { chmod, copyFile, cp, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { expect, it } from 'vitest';
import { startSimulator } from '../../src/simulator/simulator.js';
import { builtMain } from '../support/build.js';
import { startBuiltService } from '../support/built-service.js';

/** What docker-compose.yml gives it: a user without rights, and nothing that it may write. */

const ROOT = resolve(import.meta.dirname, '../..');
/** Nobody's: whatever it owns was written by the service of this test. */
const UID = 64_738;
const WRITABLE_BY_ALL = ['/tmp', '/var/tmp', '/dev/shm'];
const asRoot = process.getuid?.() === 0;

/** Every file of a folder with its mode and when it last changed. */
async function listing(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true });
  const each = names.map(async (name) => {
    const { mode, size, mtimeMs } = await stat(join(folder, name));
    return `${name} ${mode} ${size} ${mtimeMs}`;
  });
  return (await Promise.all(each)).toSorted();
}

async function ownedBy(uid: number): Promise<string[]> {
  const found = [];
  for (const folder of WRITABLE_BY_ALL) {
    for (const name of await readdir(folder).catch(() => [])) {
      const { uid: owner } = await stat(join(folder, name)).catch(() => ({ uid: -1 }));
      if (owner === uid) found.push(join(folder, name));
    }
  }
  return found;
}

function mayRead(uid: number, path: string): boolean {
  try {
    const script = `require('node:fs').accessSync(${JSON.stringify(path)}, ${constants.R_OK})`;
    execFileSync(process.execPath, ['-e', script], { uid, gid: uid, cwd: '/', stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

// As root it becomes somebody who may write nothing; anybody else already is, but for what is theirs. The packages may
// lie where only root may look.
it.skipIf(asRoot && !mayRead(UID, join(ROOT, 'node_modules')))(
  'starts, accepts and delivers as a user without rights who may write nothing',
  { timeout: 240_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'posthorn-readonly-'));
    const simulator = await startSimulator();
    try {
      await cp(dirname(dirname(await builtMain())), join(folder, 'dist'), { recursive: true });
      await copyFile(join(ROOT, 'package.json'), join(folder, 'package.json'));
      await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
      for (const name of await readdir(join(folder, 'dist'), { recursive: true })) {
        const path = join(folder, 'dist', name);
        await chmod(path, (await stat(path)).isDirectory() ? 0o555 : 0o444);
      }
      await chmod(join(folder, 'dist'), 0o555);
      await chmod(folder, 0o555);
      const before = await listing(join(folder, 'dist'));

      const service = await startBuiltService({
        main: join(folder, 'dist/src/main.js'),
        cwd: folder,
        ...(asRoot ? { uid: UID, gid: UID } : {}),
        env: { HOME: '/nonexistent', TMPDIR: '/nonexistent', NODE_ENV: 'production' },
      });
      const tenant = await service.tenant();
      await tenant.request('POST', '/subscriptions', { target_url: `${simulator.url}/ok/quiet` });
      const accepted = await tenant.request('POST', '/events', { event_type: 'a', payload: 1 });
      expect(accepted, accepted.text).toMatchObject({ status: 202, body: { deliveries: 1 } });
      await simulator.waitFor(() => simulator.countOn('/ok/quiet') === 1);
      expect((await tenant.request('GET', '/ready')).status).toBe(200);
      expect(await service.stop(), service.stderr()).toBe(0);

      expect(await listing(join(folder, 'dist'))).toEqual(before);
      expect((await readdir(folder)).toSorted()).toEqual(['dist', 'node_modules', 'package.json']);
      if (asRoot) expect(await ownedBy(UID)).toEqual([]);
    } finally {
      await simulator.close();
      // Who is not root needs to write into a folder to empty it.
      for (const name of ['', ...(await readdir(folder, { recursive: true }))]) {
        const path = join(folder, name);
        if (name.startsWith('dist') || name === '') await chmod(path, 0o755);
      }
      await rm(folder, { recursive: true });
    }
  },
);
