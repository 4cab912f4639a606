/** Counts how often an event was delivered, in the manner of CDN-Loop (RFC 8586): what comes back carries it along. */
export const HOPS_HEADER = 'x-webhook-hops';

/** What a request may say at most; the column is a smallint. */
const MAX_HOPS = 1_000;

/**
 * How often what a request brings was delivered before: 0 without the header. Of several values, as of a header that
 * was added by each on the way, the greatest counts. What is no whole number is not ours, and counts as 0.
 */
export function readHops(header: string | string[] | undefined): number {
  // Nearly every request has none.
  if (header === undefined) return 0;
  const values = [header].flat().flatMap((value) => value.split(','));
  const counts = values.map((value) => (/^\s*\d{1,9}\s*$/.test(value) ? Number(value) : 0));
  return Math.min(Math.max(...counts), MAX_HOPS);
}
