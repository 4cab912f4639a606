import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Posthorn, startPosthorn, type TestTenant } from '../support/posthorn.js';
import { copyProgram, GENERATORS, REDOCLY, run, workFolder } from './generators.js';

/**
 * `npm run test:clients`: from `openapi.json` to clients in three languages, without an edit by hand. Needs the package
 * registries, so that it is no part of `npm test`.
 */

const TARGET_URL = 'http://127.0.0.1:65535/never-called';

let posthorn: Posthorn;
beforeAll(async () => {
  posthorn = await startPosthorn();
});
afterAll(() => posthorn.stop());

it('has nothing that the recommended rules of Redocly find', async () => {
  const folder = await workFolder();
  try {
    await run(REDOCLY, folder.path);
  } finally {
    await folder.remove();
  }
});

describe.each(GENERATORS)('$name', (generator) => {
  it('makes a client that compiles and works', async ({ skip }) => {
    for (const program of generator.needs) skip(!(await isThere(program)), `${program} is not installed`);
    const tenant = await posthorn.tenant(generator.name);
    const folder = await workFolder(generator.files);
    try {
      await copyProgram(generator, folder.path);
      const { install = [], generate, compile } = generator;
      for (const step of [...install, generate, ...compile]) await run(step, folder.path);
      const output = await run(generator.run, folder.path, {
        POSTHORN_URL: posthorn.url,
        POSTHORN_KEY: tenant.apiKey,
        TARGET_URL,
      });
      await expectItsWork(tenant, JSON.parse(output));
    } finally {
      await folder.remove();
    }
  });
});

/** What each of the programs does and prints. */
async function expectItsWork(
  tenant: TestTenant,
  printed: { subscription: string; event: string; status: string; problem: string },
): Promise<void> {
  expect(printed).toMatchObject({ status: 'received', problem: 'not_found' });
  const event = await tenant.request('GET', `/events/${printed.event}`);
  expect(event.body).toMatchObject({ event_type: 'order.paid', payload: { order: 42 } });
  // It was made with the first two, and its description changed after that and alone.
  const subscription = await tenant.request('GET', `/subscriptions/${printed.subscription}`);
  expect(subscription.body).toMatchObject({
    is_active: false,
    retry_policy: { schedule: [1, 2] },
    description: expect.any(String),
  });
}

const isThere = (program: string): Promise<boolean> =>
  promisify(execFile)('which', [program]).then(Boolean, () => false);
