import { expect, it } from 'vitest';
import type { Config } from '../../../src/config/config.js';
import { LaneRegistry, MAX_LANES } from '../../../src/delivery/lane-registry.js';

const config = { laneConcurrency: 2 } as Config;

it('knows a lane again', () => {
  const lanes = new LaneRegistry(config);
  const lane = lanes.get('a');
  expect(lanes.get('a')).toBe(lane);
});

it('forgets one lane for each that is too many: idle ones, first those that were used longest ago', () => {
  const lanes = new LaneRegistry(config);
  const [busy, oldest, second, used] = ['busy', 'oldest', 'second', 'used'].map((id) => lanes.get(id));
  busy!.reserve(1);
  for (let number = 4; number < MAX_LANES; number++) lanes.get(`${number}`);
  lanes.get('used');
  lanes.get('one too many');

  expect(lanes.get('busy')).toBe(busy);
  expect(lanes.get('second')).toBe(second);
  expect(lanes.get('used')).toBe(used);
  expect(lanes.get('oldest')).not.toBe(oldest);
});
