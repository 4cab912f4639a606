/** The names of so many Bull queues; the first one is there whatever their number. */
export function laneQueueNames(shards: number): string[] {
  return Array.from({ length: shards }, (_, shard) => (shard === 0 ? 'lanes' : `lanes-${shard}`));
}

/**
 * What all keys of a queue begin with. A Cluster keeps keys together that have the same text in braces, as Bull's
 * scripts need them to be, so each queue gets a text of its own and with it, most likely, another node.
 */
export function laneQueuePrefix(prefix: string, shard: number, isCluster: boolean): string {
  return isCluster ? `{${prefix}-${shard}}` : prefix;
}

/** Which of so many queues a lane belongs to: FNV-1a (32 bits) of its id, the same in every process. */
export function shardOf(lane: string, shards: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < lane.length; index++) {
    hash = Math.imul(hash ^ lane.charCodeAt(index), 0x01000193);
  }
  return (hash >>> 0) % shards;
}
