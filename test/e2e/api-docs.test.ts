import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { holdingsOf } from '../support/holdings.js';
import {
  documentOf,
  guardedOperations,
  keyed,
  kindOf,
  nameOf,
  Operation,
  pathWith,
} from '../support/openapi.js';
import { client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';

/**
 * Each test walks the whole document, so that a new route is covered from its first day. Who may use the routes is the
 * matter of isolation.test.ts.
 */

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let operations: Operation[];

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  operations = await guardedOperations(posthorn);
});
afterAll(async () => {
  await posthorn.stop();
  await simulator.close();
});

it('lists the routes', () => {
  expect(operations.map(nameOf)).toEqual(
    expect.arrayContaining(['POST /events', 'POST /subscriptions', 'GET /dlq', 'POST /tenants']),
  );
});

describe('every operation', () => {
  it('has a summary, an answer with a schema, and its problems', () => {
    const incomplete = operations.flatMap((operation) =>
      gapsOf(operation).map((gap) => `${nameOf(operation)}: ${gap}`),
    );
    expect(incomplete).toEqual([]);
  });

  it('takes either way of presenting a key', async () => {
    const lists = operations.filter(({ method, path }) => method === 'GET' && !path.includes('{'));
    const answers = await ask(lists, (operation) =>
      posthorn.anonymous.request('GET', operation.path, undefined, {
        'x-api-key': operation.isAdmin ? 'admin-key-of-the-tests' : tenant.apiKey,
      }),
    );
    for (const { operation, answer } of answers) expect(answer.status, nameOf(operation)).toBe(200);
  });

  it('accepts its own example', async () => {
    const answers = await ask(
      operations.filter(({ example }) => example),
      async (operation) => {
        // Of its own, since an example may lead to a target outside of this machine, and no event may follow.
        const own = await posthorn.tenant(nameOf(operation));
        const target = { target_url: `${simulator.url}/ok/examples` };
        await own.request('POST', '/subscriptions', target);
        await own.request('POST', '/sources', { name: 'one', provider: 'hmac' });
        const owned = (await holdingsOf(own, operations)).set('tenant', [own.id]);
        const path = pathWith(operation, (parameter) => owned.get(kindOf(operation, parameter))![0]!);
        return keyed(operation, posthorn, own).request(operation.method, path, operation.example);
      },
    );
    for (const { operation, answer } of answers) {
      expect(answer.status, `${nameOf(operation)}: ${answer.text}`).toBeLessThan(300);
      expect(Object.keys(operation.described.responses)).toContain(String(answer.status));
    }
  });
});

it('serves what openapi.json says', async () => {
  expect(await documentOf(posthorn)).toEqual(
    JSON.parse(await readFile(new URL('../../openapi.json', import.meta.url), 'utf8')),
  );
});

it('documents both security schemes, for every route', async () => {
  const document = await documentOf(posthorn);
  expect(document.components.securitySchemes).toMatchObject({
    bearer: { type: 'http', scheme: 'bearer' },
    'api-key': { type: 'apiKey', in: 'header', name: 'X-API-Key' },
  });
  expect(document.security).toEqual([{ bearer: [] }, { 'api-key': [] }]);
});

it('serves Swagger UI and what it loads', async () => {
  const page = await posthorn.anonymous.request('GET', '/docs');
  expect(page.status).toBe(200);
  expect(page.headers['content-type']).toMatch(/^text\/html/);
  const assets = [...page.text.matchAll(/(?:src|href)="\.?\/?([^"]+\.(?:js|css))"/g)].map(
    ([, name]) => name!,
  );
  expect(assets).not.toEqual([]);
  for (const asset of assets) {
    const path = asset.startsWith('docs/') ? `/${asset}` : `/docs/${asset}`;
    expect((await client(posthorn.url).request('GET', path)).status, path).toBe(200);
  }
});

function gapsOf({ described }: Operation): string[] {
  const gaps: string[] = [];
  if (!described.summary) gaps.push('no summary');
  const answers = Object.entries(described.responses);
  const successes = answers.filter(([status]) => status.startsWith('2'));
  if (successes.length === 0) gaps.push('no successful answer');
  for (const [status, answer] of successes) {
    if (status !== '204' && !answer.content?.['application/json']?.schema)
      gaps.push(`no schema of ${status}`);
  }
  if (!described.responses['default']) gaps.push('nothing for any other status');
  const problems = answers.filter(([status]) => /^[45]/.test(status));
  for (const [status, answer] of problems) {
    if (!answer.content?.['application/problem+json']?.schema) gaps.push(`no problem schema of ${status}`);
  }
  const statuses = answers.map(([status]) => status);
  if (!statuses.includes('401')) gaps.push('no 401');
  const ofBodies = described.requestBody ? ['400', '413', '415', '422'] : [];
  gaps.push(...ofBodies.filter((one) => !statuses.includes(one)).map((one) => `takes a body, but no ${one}`));
  if (described.parameters?.some((parameter) => parameter.in === 'path') && !statuses.includes('404')) {
    gaps.push('takes an id, but no 404');
  }
  return gaps;
}

async function ask<Answer>(
  asked: Operation[],
  send: (operation: Operation) => Promise<Answer>,
): Promise<{ operation: Operation; answer: Answer }[]> {
  const answers = [];
  for (const operation of asked) answers.push({ operation, answer: await send(operation) });
  return answers;
}
