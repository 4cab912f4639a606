import { afterAll, beforeAll, expect, it } from 'vitest';
import { Simulator, startSimulator } from '../../src/simulator/simulator.js';
import { Posthorn, startPosthorn } from '../support/posthorn.js';
import { freshRedis } from '../support/redis.js';
import { describe } from 'vitest';

describe.each(['in-process', 'bull'])('an event with %s lanes', (engine) => {
  let posthorn: Posthorn;
  let simulator: Simulator;

  beforeAll(async () => {
    simulator = await startSimulator();
    const env = engine === 'bull' ? { REDIS_URL: (await freshRedis()).url } : {};
    posthorn = await startPosthorn({ env });
  });
  afterAll(async () => {
    await posthorn.stop();
    await simulator.close();
  });

  it('reaches the subscriber signed, byte for byte', async () => {
    const tenant = await posthorn.tenant();
    const created = await tenant.request('POST', '/subscriptions', {
      target_url: `${simulator.url}/ok/orders`,
    });
    expect(created.status, created.text).toBe(201);
    simulator.setSecret('/ok/orders', created.body.secret);

    const payload = '{"id":12345678901234567890123, "b" : 1.0,\n"a":"\\u00e9\\/" }';
    const accepted = await tenant.request(
      'POST',
      '/events',
      `{"event_type":"order.paid","payload": ${payload} }`,
    );
    expect(accepted.status, accepted.text).toBe(202);
    expect(accepted.body).toMatchObject({ status: 'delivering', duplicate: false, deliveries: 1 });

    await simulator.waitFor(() => simulator.countOn('/ok/orders') === 1);
    const [arrival] = simulator.receivedOn('/ok/orders');
    expect(arrival!.body.toString()).toBe(payload);
    expect(arrival!.signatureValid).toBe(true);
    expect(arrival!.headers['webhook-id']).toBe(accepted.body.id);
  });
});
