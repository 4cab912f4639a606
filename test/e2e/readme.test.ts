import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { codeBlocks, codeRows, DOCUMENTS, readDocument, ROOT } from '../support/markdown.js';
import { DataFolder, type PosthornProcess } from '../support/process.js';
import { waitFor } from '../support/wait-for.js';

let folder: DataFolder;
let posthorn: PosthornProcess;
let simulator: Simulator;
let url: string;
let terminal: Terminal;

beforeAll(async () => {
  folder = await DataFolder.make();
  [posthorn, simulator] = await Promise.all([folder.start(), startSimulator()]);
  url = /API +(http:\S+)\/api\/v1/.exec(posthorn.output())![1]!.replace('localhost', '127.0.0.1');
  // Where `npm start` was called, the data folder is called so.
  await symlink(folder.path, join(folder.path, '.posthorn'));
  terminal = new Terminal(folder.path);
});
afterAll(async () => {
  terminal.close();
  await folder.remove();
  await simulator.close();
});

/** A shell in which a person pastes one block after another. */
class Terminal {
  private readonly shell: ChildProcess;
  private output = '';

  constructor(cwd: string) {
    this.shell = spawn('bash', ['--norc'], { cwd, env: { PATH: process.env['PATH'] }, stdio: 'pipe' });
    for (const stream of [this.shell.stdout!, this.shell.stderr!]) {
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
  }

  /** @returns what the block writes, errors included */
  async paste(block: string): Promise<string> {
    this.output = '';
    this.shell.stdin!.write(`${block}\necho "-- done $?"\n`);
    await waitFor(() => /-- done \d+\n$/.test(this.output), { what: `this block to end:\n${block}` });
    const [, output, code] = /^([^]*)-- done (\d+)\n$/.exec(this.output)!;
    expect(code, `${block}\n${output}`).toBe('0');
    return output!;
  }

  close(): void {
    this.shell.kill();
  }
}

/** The next block of the walk-through, which must hold this, run as it stands but for the two addresses. */
const shellBlocks = (section: string) =>
  codeBlocks(readDocument('README.md', section)).filter(({ language }) => language === 'sh');
let blocks: ReturnType<typeof shellBlocks> = [];
async function nextBlock(mark: string): Promise<string> {
  const { code = '' } = blocks.shift() ?? {};
  expect(code).toContain(mark);
  return terminal.paste(
    code.replaceAll('http://127.0.0.1:8000', url).replaceAll('http://127.0.0.1:9000', simulator.url),
  );
}

it('waits for both programs before it reads the key that one of them makes', async () => {
  const home = await mkdtemp(join(tmpdir(), 'posthorn-readme-'));
  const started: string[] = [];
  // Neither is ready when it is asked first.
  const server = createServer(({ url: path = '' }, response) => {
    started.push(path);
    const isReady = started.filter((asked) => asked === path).length > 1;
    if (isReady && path === '/ready') {
      mkdirSync(join(home, '.posthorn'), { recursive: true });
      writeFileSync(join(home, '.posthorn/tenant-api-key'), 'the-key');
    }
    response.writeHead(isReady ? 200 : 503).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const fresh = new Terminal(home);
  try {
    const { code } = shellBlocks('Walk-through')[0]!;
    const output = await fresh.paste(code.replaceAll(/http:\/\/127.0.0.1:[89]000/g, address));
    expect(output).toMatch(/^(Waiting for npm start and npm run simulator …\n)+$/);
    expect(await fresh.paste('echo "$AUTH"')).toBe('Authorization: Bearer the-key\n');
  } finally {
    fresh.close();
    server.close();
    await rm(home, { recursive: true });
  }
});

// A second time in the same terminal, as somebody does who wants to see it again.
it.each(['once', 'twice'])('is what the walk-through says it is: %s', async (time) => {
  const isFirst = time === 'once';
  simulator.clear();
  blocks = shellBlocks('Walk-through');
  expect(await nextBlock('POSTHORN=')).toBe('');

  const subscription = JSON.parse(await nextBlock('SUBSCRIPTION='));
  expect(subscription).toMatchObject({
    target_url: `${simulator.url}/orders`,
    secret: expect.stringMatching(/^whsec_/),
  });
  expect(await nextBlock('/_secret/orders')).toBe('');

  const event = JSON.parse(await nextBlock('EVENT='));
  expect(event).toMatchObject({ event_type: 'order.paid', status: 'delivering', deliveries: 1 });

  await waitFor(async () => (await status(`/events/${event.id}/status`)) === 'delivered', {
    what: 'the delivery',
  });
  const seen = await nextBlock('/_received');
  expect(seen).toContain('"signature_valid": true');
  expect(seen).toContain(JSON.stringify('{"order": 42, "amount": 12.50}'));
  expect(seen).toContain('"status":"delivered"');

  expect(await nextBlock('always-fail')).toContain('"deliveries":1');
  const dead = await waitFor(
    async () => (await posthorn.tenant.request('GET', '/dlq')).body.data[0] as { id: string } | undefined,
    {
      what: 'the dead letter',
    },
  );
  expect(simulator.countOn('/orders')).toBe(1 + 3);
  const letters = await nextBlock('/dlq"');
  expect(letters).toContain('"next_cursor":null');
  expect(letters.match(/"reason":"exhausted"/g)).toHaveLength(2);
  expect(letters).toContain('"attempt_number":3');
  expect(letters).toContain('"payload":{"order": 43}');

  const retried = await nextBlock('/retry"');
  expect(JSON.parse(retried)).toMatchObject({ id: dead.id, status: 'pending' });
  await waitFor(async () => (await status(`/status/delivery/${dead.id}`)) === 'delivered', {
    what: 'the replay',
  });
  const delivered = JSON.parse(await nextBlock('/status/delivery/'));
  expect(delivered).toMatchObject({ id: dead.id, status: 'delivered', attempt_count: 4 });
  expect(blocks).toEqual([]);

  // In the same terminal.
  blocks.push(...shellBlocks('Receive webhooks from others'));
  const received = await nextBlock('SOURCE=');
  const [, taken] = /(\{"id":[^{}]*\})$/.exec(received.trim()) ?? [];
  expect(JSON.parse(taken!), received).toMatchObject({ event_type: 'github.issues', deliveries: 1 });
  expect(JSON.parse(taken!)).toMatchObject({ duplicate: !isFirst });
  if (!isFirst) return;
  await simulator.waitFor(() => simulator.countOn('/issues') === 1);
  expect(simulator.receivedOn('/issues')[0]!.body.toString()).toBe(
    '{"action": "opened", "issue": {"number": 1}}',
  );
  expect(blocks).toEqual([]);
});

async function status(path: string): Promise<unknown> {
  const { body } = await posthorn.tenant.request('GET', path);
  return body.status as unknown;
}

describe('how the README verifies a signature', () => {
  const snippets = codeBlocks(readDocument('README.md', 'Verify a signature'));
  const work = join(ROOT, 'node_modules/.cache', `posthorn-readme-${process.pid}`);
  let secret: string;
  let headers: Record<string, string>;
  let body: Buffer;

  beforeAll(async () => {
    const created = await posthorn.tenant.request('POST', '/subscriptions', {
      target_url: `${simulator.url}/ok/verify`,
      event_types: ['verify'],
    });
    secret = created.body.secret;
    await posthorn.tenant.request('POST', '/events', '{"event_type":"verify","payload":{"amount": 12.50}}');
    await simulator.waitFor(() => simulator.countOn('/ok/verify') === 1);
    const [arrival] = simulator.receivedOn('/ok/verify');
    headers = arrival!.headers as Record<string, string>;
    body = arrival!.body;
    await mkdir(work, { recursive: true });
  });
  afterAll(() => rm(work, { recursive: true, force: true }));

  type Functions = Record<string, (...given: unknown[]) => unknown>;
  async function snippet(index: number): Promise<Functions> {
    const file = join(work, `${index}.mjs`);
    await writeFile(file, snippets[index]!.code);
    return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as Functions;
  }

  it('with the library', async () => {
    const { payloadOf } = await snippet(0);
    expect(payloadOf!(headers, body, secret)).toEqual({ amount: 12.5 });
    expect(() => payloadOf!(headers, Buffer.from('{"amount": 12.5}'), secret)).toThrow();
    expect(() => payloadOf!(headers, body, `whsec_${Buffer.alloc(32).toString('base64')}`)).toThrow();
  });

  it('with x-webhook-signature', async () => {
    const { isOurs } = await snippet(1);
    expect(isOurs!(headers, body, secret)).toBe(true);
    expect(isOurs!(headers, Buffer.from('{"amount": 12.5}'), secret)).toBe(false);
    expect(isOurs!(headers, body, 'another secret')).toBe(false);
    expect(isOurs!({}, body, secret)).toBe(false);
  });
});

describe('the routes', () => {
  let served: string[];

  beforeAll(async () => {
    const { body } = await posthorn.tenant.request('GET', '/docs-json');
    served = Object.entries<object>(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace('/api/v1', '')}`),
    );
  });

  it('are all in docs/api.md', () => {
    const documented = codeRows(readDocument('docs/api.md', 'Routes')).map(([route]) => route);
    expect(documented.toSorted()).toEqual(served.toSorted());
  });

  // The digest of docs/extending.md has a test of its own.
  it.each(DOCUMENTS.filter((name) => name !== 'docs/extending.md'))('that %s names exist', (document) => {
    const named = readDocument(document).matchAll(/`((?:GET|POST|PUT|PATCH|DELETE) \/[\w/{}-]*)/g);
    const known = new Set(served.map(withoutNames));
    expect([...named].filter(([, route]) => !known.has(withoutNames(route!)))).toEqual([]);
  });

  const withoutNames = (route: string): string => route.replace('/api/v1', '').replace(/\{\w+\}/g, '{}');
});
