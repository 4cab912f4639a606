import { expect, it } from 'vitest';
import type { Config } from '../../../src/config/config.js';
import { PayloadLoader } from '../../../src/delivery/payload-loader.js';
import type { ClaimedDelivery } from '../../../src/domain/delivery.js';
import type { LaneRepository } from '../../../src/persistence/repositories/lane.repository.js';

const MIB = 1_048_576;
const loader = new PayloadLoader(
  {
    payloads: (ids: string[]) =>
      Promise.resolve(ids.map((id) => (id === 'gone' ? new Error('gone') : Buffer.from(id)))),
  } as unknown as LaneRepository,
  { maxPayloadBytes: MIB } as Config,
);
const claimed = (eventId: string, payloadBytes: number) =>
  ({ eventId, payloadBytes, payload: null }) as ClaimedDelivery;

it('loads even what is larger than all the memory there is, and goes on', async () => {
  const large = await loader.load(claimed('large', 200 * MIB), 'slow');
  expect(large?.delivery.payload.toString()).toBe('large');
  const next = loader.load(claimed('next', MIB), 'slow');
  large?.release();
  expect((await next)?.delivery.payload.toString()).toBe('next');
});

it('fails for the one that is not there, and for no other of the same read', async () => {
  const loads = ['here', 'gone'].map((id) => loader.load(claimed(id, MIB), 'fast'));
  const [here, gone] = await Promise.allSettled(loads);
  expect(here).toMatchObject({ value: { delivery: { payload: Buffer.from('here') } } });
  expect(gone?.status).toBe('rejected');
});
