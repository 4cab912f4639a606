import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import {
  documentOf,
  guardedOperations,
  hasParameter,
  keyed,
  nameOf,
  Operation,
  pathWith,
} from '../support/openapi.js';
import { client, Posthorn, startPosthorn, TestTenant } from '../support/posthorn.js';
import { waitFor } from '../support/wait-for.js';

/** Each test walks the whole document, so that a new route is covered from its first day. */

let posthorn: Posthorn;
let simulator: Simulator;
let tenant: TestTenant;
let operations: Operation[];
/** An id of each kind that the tenant owns. */
let owned: Record<string, string>;

beforeAll(async () => {
  simulator = await startSimulator();
  posthorn = await startPosthorn();
  tenant = await posthorn.tenant();
  operations = await guardedOperations(posthorn);
  owned = await oneOfEach(tenant);
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

  it('has an operation id of its own', () => {
    const ids = operations.map(({ described }) => described.operationId);
    expect(ids.filter((id, index) => ids.indexOf(id) !== index)).toEqual([]);
  });

  it.each([
    ['no key', {}],
    ['a wrong Bearer token', { authorization: 'Bearer ph_wrong' }],
    ['a wrong X-API-Key', { 'x-api-key': 'ph_wrong' }],
    ['an empty Bearer token', { authorization: 'Bearer ' }],
    ['a key in the wrong scheme', { authorization: 'Basic cGg6cGg=' }],
  ])('refuses %s', async (_, headers) => {
    const answers = await ask(operations, (operation) =>
      posthorn.anonymous.request(
        operation.method,
        pathWith(operation, owned['subscription']!),
        operation.example,
        headers as Record<string, string>,
      ),
    );
    for (const { operation, answer } of answers) {
      const where = nameOf(operation);
      expect(operation.isAdmin ? [401, 403] : [401], where).toContain(answer.status);
      expect(answer.headers['content-type'], where).toMatch(/^application\/problem\+json/);
      expect(Object.keys(operation.described.responses), where).toContain(String(answer.status));
      if (answer.status === 401) expect(answer.headers['www-authenticate'], where).toBe('Bearer');
    }
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

  it("keeps the admin's routes from tenants, and the tenants' from the admin", async () => {
    const answers = await ask(operations, (operation) =>
      (operation.isAdmin ? tenant : posthorn.admin).request(
        operation.method,
        pathWith(operation, owned['subscription']!),
        operation.example,
      ),
    );
    for (const { operation, answer } of answers) {
      expect(answer.status, nameOf(operation)).toBe(403);
      expect(Object.keys(operation.described.responses), nameOf(operation)).toContain('403');
    }
  });

  it('knows no id of another tenant', async () => {
    const stranger = await posthorn.tenant('a stranger');
    const before = await snapshot();
    for (const [kind, id] of Object.entries(owned)) {
      const answers = await ask(
        operations.filter((operation) => hasParameter(operation) && !operation.isAdmin),
        (operation) => stranger.request(operation.method, pathWith(operation, id), operation.example),
      );
      for (const { operation, answer } of answers) {
        const where = `${nameOf(operation)} with the id of a ${kind}: ${answer.text}`;
        expect(answer.status, where).toBe(404);
        expect(answer.text, where).not.toContain(tenant.id);
        expect(Object.keys(operation.described.responses), where).toContain('404');
      }
    }
    expect(await snapshot()).toEqual(before);
  });

  it('accepts its own example', async () => {
    const answers = await ask(
      operations.filter(({ example }) => example),
      async (operation) => {
        // Of its own, since an example may lead to a target outside of this machine, and no event may follow.
        const own = await posthorn.tenant(nameOf(operation));
        const target = { target_url: `${simulator.url}/ok/examples` };
        const { body: subscription } = await own.request('POST', '/subscriptions', target);
        return keyed(operation, posthorn, own).request(
          operation.method,
          pathWith(operation, operation.isAdmin ? own.id : subscription.id),
          operation.example,
        );
      },
    );
    for (const { operation, answer } of answers) {
      expect(answer.status, `${nameOf(operation)}: ${answer.text}`).toBeLessThan(300);
      expect(Object.keys(operation.described.responses)).toContain(String(answer.status));
    }
  });
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
  const problems = answers.filter(([status]) => status >= '400');
  for (const [status, answer] of problems) {
    if (!answer.content?.['application/problem+json']?.schema) gaps.push(`no problem schema of ${status}`);
  }
  const statuses = answers.map(([status]) => status);
  if (!statuses.includes('401')) gaps.push('no 401');
  if (described.requestBody && !statuses.includes('400')) gaps.push('takes a body, but no 400');
  if (described.requestBody && !statuses.includes('422')) gaps.push('takes a body, but no 422');
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

/** A subscription, an event, a delivery and a dead letter. */
async function oneOfEach(owner: TestTenant): Promise<Record<string, string>> {
  const { body: subscription } = await owner.request('POST', '/subscriptions', {
    target_url: `${simulator.url}/always-fail/dead`,
    retry_policy: { schedule: [] },
  });
  const { body: event } = await owner.request('POST', '/events', { event_type: 'a', payload: {} });
  const dead = await waitFor(
    async () => ((await owner.request('GET', '/dlq')).body.data as { id: string }[])[0],
    { what: 'a dead letter' },
  );
  return { subscription: subscription.id, event: event.id, delivery: dead.id };
}

/** Everything of the tenant that can be read. */
async function snapshot(): Promise<unknown> {
  const lists = operations.filter(
    ({ method, path, isAdmin }) => method === 'GET' && !path.includes('{') && !isAdmin,
  );
  return Promise.all(lists.map(async ({ path }) => [path, (await tenant.request('GET', path)).text]));
}
