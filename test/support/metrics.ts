import type { Client } from './posthorn.js';
import { waitFor } from './wait-for.js';

/** What `/metrics` says of now: it is rendered once a second at most, and the CPU time in it never twice the same. */
export async function freshMetrics(by: Client): Promise<string> {
  const read = async (): Promise<string> => (await by.request('GET', '/metrics')).text;
  const old = await read();
  return waitFor(
    async () => {
      const text = await read();
      return text !== old && text;
    },
    { what: 'the next rendering of the metrics' },
  );
}
