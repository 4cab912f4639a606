import { resolve } from 'node:path';
import { loadConfig } from './config/config.js';
import { readEnvironment } from './config/environment.js';
import { KeyRing } from './domain/encryption.js';
import { embeddedKeys, readOrMakeKeys } from './embedded-keys.js';
import { EmbeddedPostgres, startEmbeddedPostgres } from './embedded/embedded-postgres.js';
import { Reencrypted, reencryptSecrets } from './persistence/secrets-at-rest.js';

// Puts every stored secret under the first key of ENCRYPTION_KEY: `npm run reencrypt`, see docs/operations.md. With
// `-- --replace-lost`, what no key decrypts gets a new secret.

const replaceLost = process.argv.includes('--replace-lost');

const stopping = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => stopping.abort());
let postgres: EmbeddedPostgres | undefined;

try {
  const { databaseUrl, keys } = await findDatabase();
  report(await reencryptSecrets(databaseUrl, keys, tellProgress, { replaceLost }), keys);
} catch (error) {
  say(stopping.signal.aborted ? 'Stopped. Run it again to do the rest.' : (error as Error).message);
  process.exitCode = 1;
}
await postgres?.stop();

/** The database of a service that runs or not; an embedded one is started, so its service must not run. */
async function findDatabase(): Promise<{ databaseUrl: string; keys: KeyRing }> {
  const config = loadConfig(readEnvironment());
  if (config.databaseUrl !== '') {
    if (!config.encryptionKeys) throw new Error('Set ENCRYPTION_KEY to the keys, the new one first.');
    return { databaseUrl: config.databaseUrl, keys: config.encryptionKeys };
  }
  const dataDir = resolve(config.dataDir);
  postgres = await startEmbeddedPostgres({ dataDir, log: say, signal: stopping.signal });
  const { url } = postgres;
  const keys = replaceLost ? () => readOrMakeKeys(dataDir) : () => embeddedKeys(dataDir, url);
  return { databaseUrl: url, keys: config.encryptionKeys ?? (await keys()) };
}

/** Between two batches is where it can stop. */
function tellProgress(done: number, total: number): void {
  say(`${done} of ${total} subscriptions and sources`);
  stopping.signal.throwIfAborted();
}

function report({ changed, unreadable, replaced }: Reencrypted, keys: KeyRing): void {
  const [first, ...others] = keys.ids;
  say(`Encrypted the secrets of ${changed} subscriptions and sources anew.`);
  if (unreadable.length > 0) {
    process.exitCode = 1;
    const list = unreadable.map(({ table, id }) => `${table} ${id}`).join(', ');
    say(`Left as they are, since they were changed or moved, or are of a newer version: ${list}`);
    return;
  }
  if (replaceLost) reportReplaced(replaced);
  say(`Everything is under the key ${first ?? ''} now.`);
  if (others.length > 0) {
    say(`When every process runs with that key first, take ${others.join(', ')} out of ENCRYPTION_KEY.`);
  }
}

/** A line for each, for whoever has to tell their owners. */
function reportReplaced(replaced: Reencrypted['replaced']): void {
  say(`Gave ${replaced.length} subscriptions and sources a new secret, since theirs could not be decrypted.`);
  for (const { table, tenantId, id } of replaced) say(`  ${table} ${id} of tenant ${tenantId}`);
  if (replaced.some(({ table }) => table === 'subscription')) {
    say('Whoever receives for these subscriptions needs the new secret: GET /subscriptions/{id}/secret.');
  }
  if (replaced.some(({ table }) => table === 'source')) {
    say('Nothing comes in at these sources until their owners set the secret that the sender signs with.');
  }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
