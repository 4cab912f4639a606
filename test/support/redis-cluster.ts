import { Redis } from 'ioredis';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/embedded/free-port.js';
import { type RedisServer, startRedisProgram } from './redis.js';
import { waitFor } from './wait-for.js';

const SLOTS = 16_384;
/** A node or primary that says nothing for so long counts as dead. */
const DEAD_AFTER_MS = 1_000;

export interface RedisCluster {
  /** redis+cluster://… */
  url: string;
  nodes: RedisServer[];
  /** Starts a node again that was killed; it is empty, and knows its place. */
  restart(index: number): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A Redis Cluster on loopback: so many primaries, each with a part of the slots, and one replica for each if wanted.
 * With `servesInPart` it serves the slots that are there while others are away. The first `primaries` nodes are the primaries; node `primaries + n` is the replica of node n.
 */
export async function startRedisCluster(
  primaries: number,
  { withReplicas = false, servesInPart = false } = {},
): Promise<RedisCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'posthorn-redis-cluster-'));
  const nodes: RedisServer[] = [];
  const settings: { port: number; busPort: number; args: string[] }[] = [];
  const stop = async (): Promise<void> => {
    for (const node of nodes) await node.kill();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    for (let index = 0; index < primaries * (withReplicas ? 2 : 1); index++) {
      const [port, busPort] = [await freePort(), await freePort()];
      const file = join(folder, `nodes-${index}.conf`);
      const cluster = ['--cluster-enabled', 'yes', '--cluster-config-file', file];
      const timing = ['--cluster-port', String(busPort), '--cluster-node-timeout', String(DEAD_AFTER_MS)];
      const coverage = ['--cluster-require-full-coverage', servesInPart ? 'no' : 'yes'];
      const args = [...cluster, ...timing, ...coverage, '--save', '', '--appendonly', 'no', '--dir', folder];
      settings.push({ port, busPort, args });
      nodes.push(await startRedisProgram(port, args));
    }
    await meet(nodes, settings, primaries);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    url: `redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`,
    nodes,
    restart: async (index) => {
      const { port, args } = settings[index]!;
      nodes[index] = await startRedisProgram(port, args);
    },
    stop,
  };
}

async function meet(
  nodes: RedisServer[],
  settings: { port: number; busPort: number }[],
  primaries: number,
): Promise<void> {
  const clients = nodes.map(({ url }) => new Redis(url));
  try {
    const ids = await Promise.all(clients.map((client) => client.cluster('MYID')));
    for (const [index, client] of clients.entries()) {
      await client.call('CLUSTER', 'SET-CONFIG-EPOCH', String(index + 1));
      if (index < primaries) {
        const from = Math.ceil((SLOTS * index) / primaries);
        const to = Math.ceil((SLOTS * (index + 1)) / primaries) - 1;
        await client.call('CLUSTER', 'ADDSLOTSRANGE', String(from), String(to));
      }
      const { port, busPort } = settings[index]!;
      if (index > 0) {
        await clients[0]!.call('CLUSTER', 'MEET', '127.0.0.1', String(port), String(busPort));
      }
    }
    const know = async (client: Redis, count: number): Promise<boolean> =>
      ((await client.call('CLUSTER', 'INFO')) as string).includes(`cluster_known_nodes:${count}`);
    for (const client of clients) {
      await waitFor(() => know(client, nodes.length), { what: 'the nodes to meet' });
    }
    for (const [index, client] of clients.entries()) {
      if (index >= primaries) await client.call('CLUSTER', 'REPLICATE', ids[index - primaries] as string);
    }
    for (const client of clients) {
      const isUp = async () =>
        ((await client.call('CLUSTER', 'INFO')) as string).includes('cluster_state:ok');
      await waitFor(isUp, { what: 'the cluster to be up' });
    }
    for (const client of clients.slice(primaries)) {
      const isLinked = async () => (await client.info('replication')).includes('master_link_status:up');
      await waitFor(isLinked, { what: 'the replicas to follow' });
    }
  } finally {
    for (const client of clients) client.disconnect();
  }
}

export interface RedisSentinel {
  /** redis+sentinel://…/mymaster */
  url: string;
  primary: RedisServer;
  replica: RedisServer;
  /** Where the Sentinels say that the primary is now. */
  primaryPort(): Promise<number>;
  stop(): Promise<void>;
}

/** A primary, its replica, and three Sentinels that make the replica the primary when that has died. */
export async function startRedisSentinel(): Promise<RedisSentinel> {
  const folder = await mkdtemp(join(tmpdir(), 'posthorn-redis-sentinel-'));
  const servers: RedisServer[] = [];
  const stop = async (): Promise<void> => {
    for (const server of servers.toReversed()) await server.kill();
    await rm(folder, { recursive: true, force: true });
  };
  const start = async (port: number, settings: string[], file?: string): Promise<RedisServer> => {
    const server = await startRedisProgram(port, settings, file);
    servers.push(server);
    return server;
  };
  try {
    const volatile = ['--save', '', '--appendonly', 'no', '--dir', folder];
    const primary = await start(await freePort(), [...volatile, '--repl-diskless-sync-delay', '0']);
    const replica = await start(await freePort(), [...volatile, '--replicaof', `127.0.0.1 ${primary.port}`]);
    const follower = new Redis(replica.url);
    const isLinked = async () => (await follower.info('replication')).includes('master_link_status:up');
    await waitFor(isLinked, { what: 'the replica to follow' }).finally(() => follower.disconnect());
    const sentinels: RedisServer[] = [];
    for (const number of [1, 2, 3]) {
      const file = join(folder, `sentinel-${number}.conf`);
      const config = [
        `sentinel monitor mymaster 127.0.0.1 ${primary.port} 2`,
        `sentinel down-after-milliseconds mymaster ${DEAD_AFTER_MS}`,
        'sentinel failover-timeout mymaster 5000',
        `dir ${folder}`,
      ];
      await writeFile(file, `${config.join('\n')}\n`);
      sentinels.push(await start(await freePort(), ['--sentinel'], file));
    }
    const asked = new Redis(sentinels[0]!.url);
    asked.on('error', () => undefined);
    try {
      const isWatched = async () => {
        const answer = String(await asked.call('SENTINEL', 'MASTER', 'mymaster'));
        return answer.includes('num-slaves,1') && answer.includes('num-other-sentinels,2');
      };
      await waitFor(isWatched, { what: 'the Sentinels to know each other' });
    } finally {
      asked.disconnect();
    }
    return {
      url: `redis+sentinel://${sentinels.map(({ port }) => `127.0.0.1:${port}`).join(',')}/mymaster`,
      primary,
      replica,
      primaryPort: async () => {
        const client = new Redis(sentinels[0]!.url);
        try {
          const [, port] = (await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'mymaster')) as string[];
          return Number(port);
        } finally {
          client.disconnect();
        }
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
