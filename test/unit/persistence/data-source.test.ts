import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { expect, it } from 'vitest';
import { dataSourceOptions } from '../../../src/persistence/data-source.js';

/** A message of PostgreSQL's protocol: type, length, content. */
function message(type: string, content: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.write(type);
  head.writeInt32BE(content.length + 4, 1);
  return Buffer.concat([head, content]);
}

it('a connection that the server ends in the instant it becomes usable fails its statement, and not the process', async () => {
  const ready = [message('R', Buffer.alloc(4)), message('Z', Buffer.from('I'))];
  const fatal = message(
    'E',
    Buffer.from('SFATAL\0C57P01\0Mterminating connection due to administrator command\0\0'),
  );
  // All of it in one piece, as a server that is being stopped under load sends it.
  const server = createServer((socket) => {
    socket.once('data', () => socket.end(Buffer.concat([...ready, fatal])));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `postgres://user@127.0.0.1:${(server.address() as AddressInfo).port}/database`;
  const { extra } = dataSourceOptions(url, 2) as { extra: pg.PoolConfig };
  const pool = new pg.Pool({ ...extra, connectionString: url });
  pool.on('error', () => undefined); // TypeORM listens there

  const client = await pool.connect();
  await expect(client.query('select 1')).rejects.toThrow('not queryable');
  client.release(true);
  await pool.end();
  server.close();
});
