import { createServer, Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/config.js';
import { createLogger } from '../../../src/observability/logger.js';
import { RedisConnections } from '../../../src/queue/redis-connections.js';
import { ENCRYPTION_KEY } from '../../support/encryption-key.js';
import { waitFor } from '../../support/wait-for.js';

/** What a proxy does whose Redis is away, and a Redis that has its `maxclients` already: it accepts, and closes. */
it.each(['client', 'bclient', 'subscriber'] as const)(
  'a %s connects again after it was accepted and closed in the middle of its first words',
  async (purpose) => {
    let isAway = false;
    let closed = 0;
    const open = new Set<Socket>();
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      if (isAway) {
        closed++;
        setTimeout(() => socket.destroy(), 2);
        return;
      }
      open.add(socket);
      // One answer to each command, an array that begins with `*`.
      socket.on('data', (data) => socket.write('+OK\r\n'.repeat(data.toString().split('*').length - 1)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const config = loadConfig({
      DATABASE_URL: 'postgres://127.0.0.1:1/none',
      ENCRYPTION_KEY,
      REDIS_URL: `redis://127.0.0.1:${port}`,
    });
    const redis = new RedisConnections(config, createLogger('silent', 'all'));
    const client = redis.open(purpose);
    await waitFor(() => client.ping(), { what: 'a first answer' });

    isAway = true;
    for (const socket of open) socket.destroy();
    await waitFor(() => closed >= 4, { what: 'four connections that came to nothing' });
    isAway = false;
    await waitFor(async () => client.status === 'ready' && (await client.ping()), {
      what: 'an answer',
    });
    expect(client.status).toBe('ready');
    redis.close();
    server.close();
  },
);
