import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtMain } from '../support/build.js';
import { startPosthorn, type Posthorn, type TestTenant } from '../support/posthorn.js';

const EVENTS = 329;
const RUN_MS = 120_000;

let program: string;
let folder: string;
beforeAll(async () => {
  program = join(dirname(await builtMain()), 'simulator/demo.js');
  folder = await mkdtemp(join(tmpdir(), 'posthorn-demo-test-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** `npm run demo -- …`, in an empty folder. */
function demo(...options: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [program, ...options], { cwd: folder }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), output: stdout + stderr });
    });
  });
}

/** The numbers of a row, once for each of the two tables. */
function row(output: string, name: string): Record<string, number>[] {
  const lines = output.split('\n').filter((line) => line.startsWith(`${name}  `));
  return lines.map((line) => {
    const [accepted, deliveries, delivered, retried, dead, cancelled, due, duplicates] = line
      .slice(name.length)
      .trim()
      .split(/\s+/)
      .map(Number);
    return { accepted, deliveries, delivered, retried, dead, cancelled, due, duplicates } as Record<
      string,
      number
    >;
  });
}

describe('the demo with a service that is up', () => {
  let posthorn: Posthorn;
  let tenant: TestTenant;
  beforeAll(async () => {
    posthorn = await startPosthorn();
    tenant = await posthorn.tenant();
  });
  afterAll(() => posthorn.stop());

  it(
    'delivers every GitHub payload, replays what died, and leaves no subscription behind',
    async () => {
      const keyFile = join(folder, 'key');
      await writeFile(keyFile, `${tenant.apiKey}\n`);
      const { code, output } = await demo('--url', posthorn.url, '--api-key-file', keyFile);

      expect(code, output).toBe(0);
      const healthy = { accepted: EVENTS, deliveries: EVENTS, delivered: EVENTS, retried: 0, dead: 0 };
      expect(row(output, 'healthy')).toMatchObject([healthy, healthy]);
      expect(row(output, 'always fails')).toMatchObject([
        { deliveries: EVENTS, delivered: 0, retried: EVENTS, dead: EVENTS, due: 0 },
        { deliveries: EVENTS, delivered: EVENTS, retried: EVENTS, dead: 0, due: 0 },
      ]);
      const [flaky] = row(output, 'fails 15 %');
      expect(flaky!['delivered']! + flaky!['dead']!).toBe(EVENTS);
      // 15 % of 329 is 49, with a standard deviation of 6.5.
      expect(flaky!['retried']).toBeGreaterThan(15);
      expect(flaky!['retried']).toBeLessThan(90);
      expect(row(output, 'all')).toMatchObject([{}, { delivered: 3 * EVENTS, duplicates: 0 }]);

      const { body } = await tenant.request('GET', '/subscriptions');
      expect(body.data).toEqual([]);
    },
    RUN_MS,
  );

  it(
    'ends with 1 when a delivery is missing',
    async () => {
      const forgetful = await startForgetful(posthorn.url);
      try {
        const { code, output } = await demo('--url', forgetful.url, '--api-key', tenant.apiKey);
        expect(code, output).toBe(1);
        expect(output).toContain('The sums do not add up');
        expect(output).toMatch(/healthy: 329 events were accepted, but there are 328 deliveries/);
        expect(output).toContain(`accepted, but without a delivery: 1 (${forgetful.forgotten()})`);
        expect(output).toContain('taken by the subscriber, but not called delivered: 1');
      } finally {
        forgetful.close();
      }
    },
    RUN_MS,
  );

  it('says what is missing when the key is', async () => {
    const { code, output } = await demo('--url', posthorn.url);
    expect(code).toBe(1);
    expect(output).toContain('--api-key');
  });
});

it('refuses to go on when nobody is at the URL', async () => {
  const { code, output } = await demo('--url', 'http://127.0.0.1:1');
  expect({ code, output }).toEqual({ code: 1, output: 'No Posthorn is ready at http://127.0.0.1:1.\n' });
});

it(
  'starts a service of its own, whatever the environment says about another one',
  async () => {
    await writeFile(join(folder, '.env'), 'DATABASE_URL=postgres://127.0.0.1:1/nowhere\nROLE=worker\n');
    const { code, output } = await demo('--embedded');
    expect(code, output).toBe(0);
    expect(row(output, 'all')).toMatchObject([{}, { delivered: 3 * EVENTS }]);
  },
  RUN_MS,
);

/** Passes everything on to a Posthorn, but leaves the delivery of one event out of every list. */
async function startForgetful(target: string) {
  let forgotten: string | undefined;
  const server: Server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const answer = await fetch(target + request.url!, {
        method: request.method!,
        headers: {
          authorization: request.headers.authorization ?? '',
          ...(chunks.length > 0 && { 'content-type': 'application/json' }),
        },
        body: chunks.length > 0 ? Buffer.concat(chunks) : null,
      });
      let text = await answer.text();
      if (request.url!.startsWith('/api/v1/deliveries')) {
        const page = JSON.parse(text) as { data: { event_id: string }[] };
        forgotten ??= page.data[0]?.event_id;
        page.data = page.data.filter(({ event_id }) => event_id !== forgotten);
        text = JSON.stringify(page);
      }
      const type = answer.headers.get('content-type');
      response.writeHead(answer.status, type === null ? {} : { 'content-type': type }).end(text);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    forgotten: () => forgotten,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
