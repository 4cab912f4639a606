import { subscribe } from 'node:diagnostics_channel';
import { HttpSender } from '../src/delivery/http-sender.js';
import { signatureHeaders } from '../src/domain/signature.js';
import { generateSecret } from '../src/domain/signing-secret.js';
import { AddressRules } from '../src/domain/target-address.js';
import { uuidV7 } from '../src/domain/uuid-v7.js';
import { payloadOf } from './payload.js';
import { answerCalls } from './program.js';
import { UndiciSender } from './undici-sender.js';

/** A process that does nothing but POST, so that its CPU time is that of signing and HTTP alone. */

export interface PostLoad {
  /** Each belongs to a tenant of its own; they take turns. */
  urls: string[];
  /** POSTs that are under way at the same time. */
  inFlight: number;
  seconds: number;
  payloadBytes: number;
}

export interface PostFigures {
  posts: number;
  perSecond: number;
  /** Microseconds of this process, user and system, a POST. */
  cpuMicros: number;
  connectionsOpened: number;
}

const TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 100;
const SECRET = generateSecret();

const sender =
  process.env['SENDER'] === 'undici'
    ? new UndiciSender(MAX_CONNECTIONS)
    : new HttpSender({
        rules: AddressRules.parse('127.0.0.0/8'),
        connectTimeoutMs: TIMEOUT_MS,
        maxConnectionsPerOrigin: MAX_CONNECTIONS,
      });

let opened = 0;
subscribe('net.client.socket', () => (opened += 1));

const methods = {
  post: async ({ urls, inFlight, seconds, payloadBytes }: PostLoad): Promise<PostFigures> => {
    const body = Buffer.from(payloadOf(0, payloadBytes));
    const targets = urls.map((url, index) => ({ url, tenantId: `tenant-${index}` }));
    let posts = 0;
    let next = 0;
    const openedBefore = opened;
    const cpuBefore = process.cpuUsage();
    const startedAt = performance.now();
    const endAt = startedAt + seconds * 1000;
    const postUntilTheEnd = async (): Promise<void> => {
      while (performance.now() < endAt) {
        const { url, tenantId } = targets[next++ % targets.length]!;
        const result = await sender.send({
          tenantId,
          url,
          headers: signed(body),
          body,
          timeoutMs: TIMEOUT_MS,
        });
        if (result.kind !== 'response' || result.statusCode !== 200) {
          throw new Error(`A POST ended with ${JSON.stringify(result)}`);
        }
        posts++;
      }
    };
    await Promise.all(Array.from({ length: inFlight }, postUntilTheEnd));
    const elapsedSeconds = (performance.now() - startedAt) / 1000;
    const { user, system } = process.cpuUsage(cpuBefore);
    return {
      posts,
      perSecond: posts / elapsedSeconds,
      cpuMicros: (user + system) / posts,
      connectionsOpened: opened - openedBefore,
    };
  },
};

export type ExchangeSender = typeof methods;

/** What the service sends with a delivery. */
function signed(body: Buffer): Record<string, string> {
  const webhookId = uuidV7(Date.now());
  const timestampSeconds = Math.floor(Date.now() / 1000);
  return {
    'content-type': 'application/json',
    'user-agent': 'bench',
    ...signatureHeaders({ secrets: [SECRET], webhookId, timestampSeconds, body }),
    'x-webhook-event': 'bench.exchange',
    'x-webhook-delivery': webhookId,
    'x-webhook-attempt': '1',
    'x-request-id': webhookId,
  };
}

answerCalls(methods);
// An orderly end, at which Node writes the CPU profile that it may have been asked for.
process.once('SIGTERM', () => process.exit(0));
