/** Rows of keyboards and alphabets, which people type when they are asked for something random. */
const TYPED_ROWS = ['qwertyuiop', 'asdfghjkl', 'zxcvbnm', 'qwertzuiop', 'yxcvbnm', 'azertyuiop'];

/** What documentation writes in the place of a secret. */
const PLACEHOLDER =
  /change[-_ .]?(?:me|this|it)|replace[-_ .]?(?:me|this|with)|your[-_ .]?(?:own[-_ .]?)?(?:admin|api|secret|key|token|password)|placeholder|passw[o0]rd/i;

const LEAST_DISTINCT_CHARACTERS = 6;
const LEAST_UNPREDICTED_CHARACTERS = 8;
/** Of 32 random bytes, fewer than 20 distinct ones are never seen: the probability is below 1e-9. */
const LEAST_DISTINCT_BYTES = 12;

/**
 * Why a text that grants access is easy to guess, as a clause that goes on after "must not" or "they"; null where nothing
 * obvious speaks against it. It finds the absence of randomness that people type: repetition, sequences, placeholders.
 * Sixteen random hexadecimal digits pass.
 */
export function weaknessOfText(text: string): string | null {
  if (PLACEHOLDER.test(text)) return 'hold a placeholder or the word "password"';
  return weaknessOf([...text.toLowerCase()], LEAST_DISTINCT_CHARACTERS, (before, after) => {
    const step = after.charCodeAt(0) - before.charCodeAt(0);
    return Math.abs(step) <= 1 || TYPED_ROWS.some((row) => row.includes(before + after));
  });
}

/** The same for the bytes of a key: all zeros, one byte, a short pattern, a sequence. */
export function weaknessOfBytes(bytes: Uint8Array): string | null {
  return weaknessOf([...bytes], LEAST_DISTINCT_BYTES, (before, after) => Math.abs(after - before) <= 1);
}

function weaknessOf<Unit>(
  units: readonly Unit[],
  leastDistinct: number,
  isExpected: (before: Unit, after: Unit) => boolean,
): string | null {
  if (new Set(units).size < leastDistinct) return 'consist of a few characters over and over';
  if (hasPeriod(units)) return 'repeat a shorter text';
  const seenPairs = new Set<string>();
  let unpredicted = 1;
  for (let at = 1; at < units.length; at++) {
    const [before, after] = [units[at - 1] as Unit, units[at] as Unit];
    const pair = `${String(before)},${String(after)}`;
    if (!seenPairs.has(pair) && !isExpected(before, after)) unpredicted++;
    seenPairs.add(pair);
  }
  return unpredicted < LEAST_UNPREDICTED_CHARACTERS ? 'be a sequence or a repetition' : null;
}

/** Whether the units begin anew at least once: `abcabcab` does after 3. */
function hasPeriod(units: readonly unknown[]): boolean {
  for (let period = 1; period <= units.length / 2; period++) {
    if (units.every((unit, at) => at < period || unit === units[at - period])) return true;
  }
  return false;
}
