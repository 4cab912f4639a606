import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cp, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createDatabase } from '../support/database.js';
import { ENCRYPTION_KEY } from '../support/encryption-key.js';
import { codeBlocks, readDocument, ROOT } from '../support/markdown.js';
import { ADMIN_KEY, client, type TestTenant } from '../support/posthorn.js';
import { CannotHappen, waitFor } from '../support/wait-for.js';

const TREE = [
  'src',
  'migrations',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  '.dependency-cruiser.cjs',
];
const STEP_TIMEOUT_MS = 120_000;

let tree: string;

/** A copy of the source tree in which everything was done that the document says. */
beforeAll(async () => {
  tree = await mkdtemp(join(tmpdir(), 'posthorn-extending-'));
  await Promise.all(TREE.map((name) => cp(join(ROOT, name), join(tree, name), { recursive: true })));
  await symlink(join(ROOT, 'node_modules'), join(tree, 'node_modules'));
  await followTheDocument();
});
afterAll(() => rm(tree, { recursive: true, force: true }));

async function followTheDocument(): Promise<void> {
  let file = '';
  for (const { language, caption, code } of codeBlocks(readDocument('docs/extending.md'))) {
    file = /^\*\*`(.+)`\*\*$/.exec(caption)?.[1] ?? file;
    const path = join(tree, file);
    if (language === 'ts') {
      await mkdir(dirname(path), { recursive: true });
      writeFileSync(path, code);
    } else if (language === 'diff') {
      writeFileSync(path, patched(file, readFileSync(path, 'utf8'), code.trimEnd().split('\n')));
    }
  }
}

function patched(file: string, text: string, diff: string[]): string {
  const side = (marks: string) =>
    diff
      .filter((line) => marks.includes(line[0]!))
      .map((line) => line.slice(1))
      .join('\n');
  const parts = text.split(side(' -'));
  expect(parts, `docs/extending.md changes what is no longer in ${file}:\n${side(' -')}`).toHaveLength(2);
  return parts.join(side(' +'));
}

/** Runs a program of node_modules in the tree. */
async function run(program: string, ...args: string[]): Promise<{ failed: boolean; output: string }> {
  const options = { cwd: tree, timeout: STEP_TIMEOUT_MS, maxBuffer: 2 ** 26 };
  return promisify(execFile)(process.execPath, [join(ROOT, 'node_modules', program), ...args], options).then(
    ({ stdout }) => ({ failed: false, output: stdout }),
    (error: unknown) => {
      const { stdout, stderr, message } = error as Error & { stdout: string; stderr: string };
      return { failed: true, output: `${stdout}${stderr}${message}` };
    },
  );
}

const boundaries = () =>
  run(
    'dependency-cruiser/bin/dependency-cruise.mjs',
    'src',
    'migrations',
    '--config',
    '.dependency-cruiser.cjs',
  );

describe('the boundaries', () => {
  it('hold with the module in place', { timeout: STEP_TIMEOUT_MS }, async () => {
    const { failed, output } = await boundaries();
    expect(failed, output).toBe(false);
  });

  it('refuse it another feature', { timeout: STEP_TIMEOUT_MS }, async () => {
    const file = join(tree, 'src/digest/digest.service.ts');
    const code = readFileSync(file, 'utf8');
    writeFileSync(
      file,
      `import { DlqService } from '../dlq/dlq.service.js';\nexport type Dlq = DlqService;\n${code}`,
    );
    const { failed, output } = await boundaries();
    writeFileSync(file, code);
    expect(failed).toBe(true);
    expect(output).toContain('digest-imports-no-other-feature');
  });
});

describe('the service with the module', () => {
  let service: ChildProcess;
  let database: { url: string; drop(): Promise<void> };
  let url: string;

  beforeAll(async () => {
    expect(await run('typescript/bin/tsc', '-p', 'tsconfig.build.json')).toMatchObject({ failed: false });
    database = await createDatabase();
    service = spawn(process.execPath, ['dist/src/main.js'], {
      cwd: tree,
      env: {
        PATH: process.env['PATH'],
        PORT: '0',
        HOST: '127.0.0.1',
        DATABASE_URL: database.url,
        ADMIN_API_KEY: ADMIN_KEY,
        ENCRYPTION_KEY,
        ALLOW_TARGET_RANGES: '127.0.0.0/8',
        LOG_LEVEL: 'silent',
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let output = '';
    service.stderr!.on('data', (chunk: Buffer) => (output += chunk.toString()));
    url = await waitFor(
      () => {
        if (service.exitCode !== null)
          throw new CannotHappen(`it ended with ${service.exitCode}:\n${output}`);
        return /API +(http:\S+)\/api\/v1/.exec(output)?.[1]?.replace('localhost', '127.0.0.1');
      },
      { what: 'the service to start' },
    );
  }, STEP_TIMEOUT_MS * 2);
  afterAll(async () => {
    const ended = new Promise((resolve) => service.once('exit', resolve));
    service.kill();
    await ended;
    await database.drop();
  });

  async function tenant(): Promise<TestTenant> {
    const { body } = await client(url, ADMIN_KEY).request('POST', '/tenants', { name: 'a tenant' });
    return { id: body.id, apiKey: body.api_key, ...client(url, body.api_key) };
  }

  it("answers with the tenant's own figures", async () => {
    const [one, other] = [await tenant(), await tenant()];
    const target = { target_url: 'http://127.0.0.1:60009/' };
    const { body, status, text } = await one.request('POST', '/subscriptions', target);
    expect(status, text).toBe(201);
    await one.request('POST', '/events', { event_type: 'a', payload: 1 });
    await one.request('PATCH', `/subscriptions/${body.id}`, { is_active: false });

    const digest = await one.request('GET', '/digest?hours=1');
    expect(digest.status, digest.text).toBe(200);
    const { deliveries, since, switched_off } = digest.body;
    expect(Object.values<number>(deliveries)).toEqual([1]);
    expect(Date.now() - Date.parse(since)).toBeGreaterThanOrEqual(3_600_000);
    expect(switched_off).toEqual([body.id]);

    expect((await other.request('GET', '/digest')).body).toMatchObject({ deliveries: {}, switched_off: [] });
  });

  it('refuses as every route does', async () => {
    expect((await client(url).request('GET', '/digest')).body).toMatchObject({ code: 'unauthorized' });
    expect((await (await tenant()).request('GET', '/digest?hours=0')).body).toMatchObject({
      code: 'invalid_request',
      errors: [{ path: 'hours', message: 'must be a whole number from 1 to 72' }],
    });
  });

  it('documents it', async () => {
    const { body } = await client(url).request('GET', '/docs-json');
    expect(body.paths['/api/v1/digest'].get.summary).toBe('How the latest deliveries stand');
  });
});
