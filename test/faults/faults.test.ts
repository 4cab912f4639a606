import { afterAll, expect, it } from 'vitest';
import { FAULTS } from './fault-table.js';
import { Played, summary, writeResults } from './report.js';
import { playRound } from './round.js';
import { Stand } from './stand.js';

/** `all`, a regular expression for `group: name`, or nothing: then the short form. */
const wanted = process.env['FAULTS'] ?? '';
const isShort = wanted === '';
/** Repeats a run: the same moments, durations and loads. */
const seed = Number(process.env['FAULTS_SEED'] ?? Date.now() % 1_000_000);
const rounds = Number(process.env['FAULTS_ROUNDS'] ?? (isShort ? 1 : 3));

const played: Played[] = FAULTS.filter(({ name, group, short }) =>
  isShort ? short : wanted === 'all' || new RegExp(wanted).test(`${group}: ${name}`),
).map((fault) => ({ fault, accounts: [], failure: null }));

/** One installation for all rounds, so that what one fault leaves behind meets the next; a new one after a failure. */
let stand: Stand | undefined;
let versions = { postgres: '', redis: '' };

// A runner that is interrupted ends this process so; 'exit' then takes PostgreSQL along.
process.once('SIGTERM', () => process.exit(143));
process.stderr.write(`FAULTS_SEED=${seed} repeats these faults.\n`);

afterAll(async () => {
  await stand?.stop();
  if (process.env['FAULTS_WRITE'] === '1') writeResults(played, { seed, rounds, ...versions });
});

it.each(played)('$fault.group: $fault.name', async (one) => {
  for (let round = 1; round <= rounds; round++) {
    stand ??= await Stand.start();
    versions = stand.versions;
    try {
      const account = await playRound(stand, one.fault, `f${FAULTS.indexOf(one.fault)}-${round}`, seed);
      one.accounts.push(account);
      process.stderr.write(summary(one.fault, account));
      expect(account.violations.slice(0, 10), `round ${round} of FAULTS_SEED=${seed}`).toEqual([]);
    } catch (error) {
      one.failure ??= (error as Error).message.split('\n')[0]!;
      process.stderr.write(stand.lastWords());
      await stand.stop();
      stand = undefined;
      throw error;
    }
  }
});
