import type { Profiler } from 'node:inspector';
import { expect, it } from 'vitest';
import { AREA_NAMES, cpuTimes } from '../../../bench/profile.js';

const ROOT = 'file:///somewhere/dist/';
const PG = 'file:///somewhere/node_modules/pg/lib/client.js';

/** A call tree, each function with the number of samples in which it was on top. */
interface Tree {
  name: string;
  url?: string;
  hits: number;
  calls?: Tree[];
}

function profileOf(root: Tree): Profiler.Profile {
  const nodes: Profiler.ProfileNode[] = [];
  const samples: number[] = [];
  const add = ({ name, url = '', hits, calls = [] }: Tree): number => {
    const node = {
      id: nodes.length + 1,
      callFrame: { functionName: name, url, scriptId: '0', lineNumber: 0, columnNumber: 0 },
      children: [] as number[],
    };
    nodes.push(node);
    samples.push(...Array.from({ length: hits }, () => node.id));
    node.children = calls.map(add);
    return node.id;
  };
  add(root);
  return { nodes, samples, startTime: 0, endTime: 1 };
}

it('divides the CPU time among areas, what is idle left out and what is neutral on its caller’s account', () => {
  const profile = profileOf({
    name: '(root)',
    hits: 0,
    calls: [
      { name: '(idle)', hits: 1_000 },
      { name: '(program)', hits: 10 },
      { name: '(garbage collector)', hits: 20 },
      {
        name: 'query',
        url: PG,
        hits: 5,
        calls: [
          { name: 'writev', hits: 15 },
          { name: 'sign', url: `${ROOT}src/domain/signature.js`, hits: 25 },
        ],
      },
      {
        name: 'sign',
        url: `${ROOT}src/domain/signature.js`,
        hits: 0,
        calls: [{ name: 'update', url: 'node:internal/crypto/hash', hits: 25 }],
      },
    ],
  });
  const { areas, functions } = cpuTimes(profile, ROOT, 200);
  expect(Object.fromEntries([...areas].filter(([, micros]) => micros > 0))).toEqual({
    'Node itself: event loop, sockets, timers': 20,
    'garbage collection': 40,
    'Postgres driver': 40,
    signing: 100,
  });
  expect([...areas.keys()].filter((name) => !AREA_NAMES.includes(name))).toEqual([]);
  expect(functions[0]).toEqual({ name: 'sign (src/domain/signature.js:1)', area: 'signing', micros: 50 });
});

it.each([
  ['src/delivery/lane-runner.js', 'lanes'],
  ['src/delivery/http-sender.js', 'HTTP out'],
  ['src/delivery/attempt/sign.step.js', 'attempts and their outcome'],
  ['src/http/auth.guard.js', 'authentication'],
  ['src/http/json-body.js', 'parsing and validation'],
  ['src/persistence/repositories/lane.repository.js', 'batches, statements and rows'],
  ['src/observability/logger.js', 'logging'],
  ['src/queue/bull-lane-scheduler.js', 'queue: Bull and ioredis'],
])('counts %s as %s', (file, area) => {
  const profile = profileOf({ name: '(root)', hits: 0, calls: [{ name: 'run', url: ROOT + file, hits: 1 }] });
  expect(cpuTimes(profile, ROOT, 1).areas.get(area)).toBe(1);
});
