import { readFileSync } from 'node:fs';
import type { Profiler } from 'node:inspector';

/** Where CPU time goes, in the order of a delivery's way. The first area whose pattern fits a place takes it. */
const AREAS: { name: string; places: RegExp }[] = [
  { name: 'garbage collection', places: /^\(garbage collector\)$/ },
  { name: 'the benchmark’s own counters', places: /^bench\// },
  { name: 'HTTP in: Node’s server', places: /^node:(_http_|internal\/http)/ },
  {
    name: 'HTTP in: Fastify',
    places: /^(fastify|@fastify\/|avvio|find-my-way|fast-json-stringify|secure-json-parse|toad-cache)/,
  },
  { name: 'Nest and RxJS', places: /^(@nestjs\/(core|common|platform)|rxjs|src\/server|src\/http\/problem)/ },
  { name: 'authentication', places: /^src\/(http\/auth|persistence\/key-cache|tenants)/ },
  {
    name: 'parsing and validation',
    places: /^(src\/(http\/(json|raw|valid|uuid)|domain\/(json|event-type)|.*\.dto)|class-)/,
  },
  { name: 'ingestion', places: /^src\/(ingestion|persistence\/subscription-cache)/ },
  { name: 'batches, statements and rows', places: /^src\/persistence/ },
  { name: 'Postgres driver', places: /^(pg|pg-[\w-]+|postgres-[\w-]+|typeorm)\// },
  {
    name: 'queue: Bull and ioredis',
    places: /^(bull|@nestjs\/bull|ioredis|@ioredis|redis-|denque|src\/queue)/,
  },
  {
    name: 'lanes',
    places: /^src\/delivery\/(lane|claim|concurrency|fair|latency|policies|result|sweep|worker)/,
  },
  { name: 'signing', places: /^src\/domain\/signature/ },
  {
    name: 'HTTP out',
    places:
      /^src\/delivery\/(http|connection|origin|idle|re(quest|sponse|sting)|chunked|guarded|tls|target|system|send)/,
  },
  { name: 'attempts and their outcome', places: /^src\/(delivery|domain\/(attempt|retry))/ },
  {
    name: 'logging',
    places: /^(pino|sonic-boom|quick-format|safe-stable|thread-stream|@pinojs|src\/observability\/logger)/,
  },
  { name: 'metrics', places: /^(prom-client|@willsoto|src\/observability)/ },
];
/** Sockets, streams, timers and native code whose caller is not on the stack. */
const NOBODYS = 'Node itself: event loop, sockets, timers';
export const AREA_NAMES = [...AREAS.map(({ name }) => name), NOBODYS];

export interface FunctionTime {
  name: string;
  area: string;
  micros: number;
}

export interface CpuTimes {
  /** Microseconds, by area. */
  areas: Map<string, number>;
  /** The functions with the greatest self time, greatest first. */
  functions: FunctionTime[];
}

/**
 * Divides the CPU time of a process according to its profile. Samples are counted, not their time differences: while
 * the process waits for a core no sample is taken, and the time of the next one would hold the wait. Idle samples are
 * left out.
 *
 * Self time of Node's own code and of small libraries counts for their nearest caller that has an area, so that a
 * socket's write is on the account of whoever writes.
 *
 * @param ownRoot the file URL of the folder in which src/ and bench/ of the profiled build lie
 * @param cpuMicros what there is to divide
 */
export function cpuTimes(profile: Profiler.Profile, ownRoot: string, cpuMicros: number): CpuTimes {
  const hits = new Map<number, number>();
  for (const id of profile.samples ?? []) hits.set(id, (hits.get(id) ?? 0) + 1);
  const busy = profile.nodes.filter(
    ({ callFrame }) => !['(idle)', '(root)'].includes(callFrame.functionName),
  );
  const samples = busy.reduce((sum, { id }) => sum + (hits.get(id) ?? 0), 0);
  const areaOfNode = areasOfNodes(profile.nodes, ownRoot);
  const areas = new Map<string, number>();
  const functions = new Map<string, FunctionTime>();
  for (const { id, callFrame } of busy) {
    const micros = ((hits.get(id) ?? 0) / samples) * cpuMicros;
    const area = areaOfNode.get(id) ?? NOBODYS;
    areas.set(area, (areas.get(area) ?? 0) + micros);
    const place = placeOf(callFrame, ownRoot);
    const name = `${callFrame.functionName || '(anonymous)'} (${place}:${callFrame.lineNumber + 1})`;
    const known = functions.get(`${area}: ${name}`);
    if (known) known.micros += micros;
    else functions.set(`${area}: ${name}`, { name, area, micros });
  }
  return { areas, functions: [...functions.values()].sort((a, b) => b.micros - a.micros) };
}

export function readProfile(path: string): Profiler.Profile {
  return JSON.parse(readFileSync(path, 'utf8')) as Profiler.Profile;
}

/** The area of each node that has one: its own, else that of its parent. */
function areasOfNodes(nodes: Profiler.ProfileNode[], ownRoot: string): Map<number, string> {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const areas = new Map<number, string>();
  const open: { id: number; inherited: string | undefined }[] = [
    { id: nodes[0]?.id ?? 0, inherited: undefined },
  ];
  for (let next = open.pop(); next; next = open.pop()) {
    const node = byId.get(next.id);
    if (!node) continue;
    const place = placeOf(node.callFrame, ownRoot);
    const area = AREAS.find(({ places }) => places.test(place))?.name ?? next.inherited;
    if (area !== undefined) areas.set(next.id, area);
    for (const id of node.children ?? []) open.push({ id, inherited: area });
  }
  return areas;
}

/** `src/…` and `bench/…` of the build, `package/file` of a library, else what stands there: `node:net`, `(program)`. */
function placeOf({ url, functionName }: Profiler.ProfileNode['callFrame'], ownRoot: string): string {
  if (url === '') return functionName;
  if (url.startsWith(ownRoot)) return url.slice(ownRoot.length);
  const library = url.lastIndexOf('/node_modules/');
  return library < 0 ? url : url.slice(library + '/node_modules/'.length);
}
