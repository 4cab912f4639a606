/** How a lane's target answered the last request: late or not at all; no request yet; at once. */
export const LATENCY_CLASSES = ['slow', 'unknown', 'fast'] as const;
export type LatencyClass = (typeof LATENCY_CLASSES)[number];
