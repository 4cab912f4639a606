/**
 * Uniform numbers in [0, 1), the same for the same seed and name, so that every path has a stream of its own
 * whatever arrives on the others in between. Not for secrets.
 */
export function seededRandom(seed: number, name: string): () => number {
  let state = fnv1a(name) ^ seed;
  return () => {
    // mulberry32: a Weyl sequence through a 32-bit mixer.
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** FNV-1a, 32 bit. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}
