import { createHash } from 'node:crypto';
import { neededTokens, RateLimitRule } from '../domain/token-bucket.js';
import type { RedisClient } from '../queue/redis-connections.js';

export interface BucketRequest {
  rule: RateLimitRule;
  /** Tokens of an earlier lease. */
  returned: number;
  /** Decided one after the other. */
  charges: readonly { cost: number; paid: number }[];
  /** Tokens wanted beside, as far as they are there. */
  lease: number;
}

export interface BucketAnswer {
  admitted: boolean[];
  lease: number;
  /** Tokens left in the bucket; below zero when it is in debt. */
  tokens: number;
}

/**
 * The rules of TokenBucket (src/domain/token-bucket.ts), with the clock of Redis. A bucket is the text "tokens
 * microseconds", and is forgotten when it is full. Numbers go in and out as text: Redis cuts fractions off.
 */
const SCRIPT = `
local rate, burst, returned, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local tokens, at = burst, now
local known = redis.call('GET', KEYS[1])
if known then
  local space = string.find(known, ' ', 1, true)
  tokens, at = tonumber(string.sub(known, 1, space - 1)), tonumber(string.sub(known, space + 1))
end
tokens = math.min(burst, tokens + math.max(0, now - at) * rate / 1000000 + returned)

local admitted = {}
for i = 5, #ARGV, 2 do
  local fits = tokens + 0.000001 >= tonumber(ARGV[i])
  if fits then tokens = tokens - tonumber(ARGV[i + 1]) end
  admitted[#admitted + 1] = fits and '1' or '0'
end
lease = math.max(0, math.min(lease, math.floor(tokens)))
tokens = tokens - lease

if tokens < burst then
  local fullInMs = math.ceil((burst - tokens) / rate * 1000)
  redis.call('SET', KEYS[1], string.format('%.17g %.0f', tokens, now), 'PX', string.format('%.0f', fullInMs))
else
  redis.call('DEL', KEYS[1])
end
return {table.concat(admitted), lease, string.format('%.17g', tokens)}
`;
const SHA = createHash('sha1').update(SCRIPT).digest('hex');

/** Everything at once, in one command on one key. */
export async function askBucket(
  redis: RedisClient,
  key: string,
  { rule, returned, charges, lease }: BucketRequest,
): Promise<BucketAnswer> {
  const numbers = [rule.perSecond, rule.burst, returned, lease];
  for (const { cost, paid } of charges) numbers.push(neededTokens(rule, cost, paid), cost);
  const [admitted, leased, tokens] = (await run(redis, key, numbers)) as [string, number, string];
  return { admitted: [...admitted].map((flag) => flag === '1'), lease: leased, tokens: Number(tokens) };
}

async function run(redis: RedisClient, key: string, numbers: number[]): Promise<unknown> {
  try {
    return await redis.evalsha(SHA, 1, key, ...numbers);
  } catch (error) {
    if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
    return redis.eval(SCRIPT, 1, key, ...numbers);
  }
}
