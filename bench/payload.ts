/** `{"seq":"00000042","filler":"…"}`: where the number stands, so that the sink finds it without parsing. */
const SEQUENCE_START = 8;
const SEQUENCE_END = 16;

/** A JSON payload of exactly this many bytes that carries its sequence number. */
export function payloadOf(sequence: number, bytes: number): string {
  const head = `{"seq":"${String(sequence).padStart(8, '0')}","filler":"`;
  return `${head}${'x'.repeat(Math.max(bytes - head.length - 2, 0))}"}`;
}

export function sequenceOf(payload: Buffer): number {
  return Number(payload.toString('latin1', SEQUENCE_START, SEQUENCE_END));
}
