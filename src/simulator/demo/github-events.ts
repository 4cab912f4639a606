import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

export interface GithubEvent {
  /** `github.<name>`, or `github.<name>.<action>` where the payload has an action. */
  type: string;
  /** JSON text. */
  payload: string;
}

interface Hook {
  name: string;
  examples: { action?: string }[];
}

/**
 * The example payloads of every webhook that GitHub sends.
 *
 * @throws Error that says what to do when the package with them is not installed
 */
export function githubEvents(): GithubEvent[] {
  return readHooks().flatMap(({ name, examples }) =>
    examples.map((example) => ({
      type: ['github', name, ...(example.action === undefined ? [] : [example.action])].join('.'),
      payload: JSON.stringify(example),
    })),
  );
}

function readHooks(): Hook[] {
  let file: string;
  try {
    file = createRequire(import.meta.url).resolve('@octokit/webhooks-examples');
  } catch (error) {
    throw new Error('The example payloads are not installed. Run npm ci, without --omit=dev.', {
      cause: error,
    });
  }
  return JSON.parse(readFileSync(file, 'utf8')) as Hook[];
}
