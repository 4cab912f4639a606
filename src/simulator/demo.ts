import { parseArgs } from 'node:util';
import { DemoRun } from './demo/demo-run.js';
import { githubEvents } from './demo/github-events.js';
import { PosthornApi } from './demo/posthorn-api.js';
import { findService } from './demo/service.js';
import { startSimulator } from './simulator.js';

const USAGE = `Usage: npm run demo -- [options]

Sends GitHub's example webhooks through a Posthorn to three subscribers that it plays itself: one healthy, one
that fails 15 % of the time, one that always fails. Then it replays the dead letters. Exits with 1 if the sums
do not add up.

  --url URL            a Posthorn that is up; by default http://127.0.0.1:8000 if there is one, else one is
                       started for the time of the demo
  --api-key KEY        of a tenant there
  --api-key-file FILE  a file with that key; .posthorn/tenant-api-key by default
  --embedded           start one in any case
  --help

`;

const say = (text: string): void => void process.stderr.write(`${text}\n`);
const print = (text: string): void => void process.stdout.write(text);

async function main(): Promise<number> {
  const { values: options } = parseArgs({
    options: {
      url: { type: 'string' },
      'api-key': { type: 'string' },
      'api-key-file': { type: 'string' },
      embedded: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (options.help) {
    print(USAGE);
    return 0;
  }
  const events = githubEvents();
  const interrupted = interruption();
  const wanted = { ...options, apiKey: options['api-key'], apiKeyFile: options['api-key-file'] };
  const service = await Promise.race([findService(wanted, say), interrupted]);
  const simulator = await startSimulator();
  const demo = new DemoRun(new PosthornApi(service.url, service.apiKey), simulator, print);
  try {
    await Promise.race([demo.run(events), interrupted]);
  } finally {
    await demo
      .cleanUp()
      .catch((error: unknown) => say(`The subscriptions of the demo remain: ${String(error)}`));
    await service.stop();
    await simulator.close();
  }
  if (demo.problems.length === 0) print('\nThe sums add up.\n');
  else print(`\nThe sums do not add up:\n${demo.problems.map((problem) => `  - ${problem}\n`).join('')}`);
  return demo.problems.length === 0 ? 0 : 1;
}

/** So that Ctrl-C cleans up as well. */
function interruption(): Promise<never> {
  return new Promise((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        reject(new Error('Interrupted.'));
      });
    }
  });
}

try {
  process.exit(await main());
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
