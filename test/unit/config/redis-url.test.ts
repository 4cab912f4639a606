import { describe, expect, it } from 'vitest';
import { readRedisUrl } from '../../../src/config/redis-url.js';

const nobody = { username: undefined, password: undefined };

describe('readRedisUrl', () => {
  it.each([
    'redis://queue',
    'redis://:pass@queue:6379/1',
    'rediss://user:pass@queue:6380',
    'redis://[::1]:6379',
  ])('leaves %s to the driver', (url) => expect(readRedisUrl(url)).toEqual({ kind: 'server', url }));

  it.each([
    [
      'redis+cluster://a:7000,b:7001',
      {
        tls: false,
        hosts: [
          { host: 'a', port: 7000 },
          { host: 'b', port: 7001 },
        ],
        ...nobody,
      },
    ],
    ['redis+cluster://a', { tls: false, hosts: [{ host: 'a', port: 6379 }], ...nobody }],
    ['redis+cluster://[::1]:7000/', { tls: false, hosts: [{ host: '::1', port: 7000 }], ...nobody }],
    [
      'rediss+cluster://us%40er:p%2Fa:ss@a:7000, b',
      {
        tls: true,
        hosts: [
          { host: 'a', port: 7000 },
          { host: 'b', port: 6379 },
        ],
        username: 'us@er',
        password: 'p/a:ss',
      },
    ],
    [
      'redis+cluster://:pass@a',
      { tls: false, hosts: [{ host: 'a', port: 6379 }], ...nobody, password: 'pass' },
    ],
  ])('reads the nodes of %s', (url, expected) => {
    expect(readRedisUrl(url)).toEqual({ kind: 'cluster', ...expected });
  });

  const sentinel = {
    hosts: [{ host: 'a', port: 26379 }],
    name: 'mymaster',
    database: 0,
    tls: false,
    sentinel: nobody,
    ...nobody,
  };
  it.each([
    ['redis+sentinel://a/mymaster', sentinel],
    ['redis+sentinel://a/mymaster/3', { ...sentinel, database: 3 }],
    [
      'rediss+sentinel://u:p@a:1,b:2/main?sentinel_username=su&sentinel_password=s%26p',
      {
        hosts: [
          { host: 'a', port: 1 },
          { host: 'b', port: 2 },
        ],
        name: 'main',
        database: 0,
        tls: true,
        username: 'u',
        password: 'p',
        sentinel: { username: 'su', password: 's&p' },
      },
    ],
  ])('reads the Sentinels of %s', (url, expected) => {
    expect(readRedisUrl(url)).toEqual({ kind: 'sentinel', ...expected });
  });

  it.each([
    ['queue:6379', 'must be redis://host:port'],
    ['http://queue', 'must be redis://host:port'],
    ['redis+magic://queue', 'must be redis://host:port'],
    ['redis://a:1,b:2', 'must be redis://host:port'],
    ['redis+cluster://', '"" is not host:port'],
    ['redis+cluster://a:x', '"a:x" is not host:port'],
    ['redis+cluster://a:70000', '"a:70000" is not host:port'],
    ['redis+cluster://a,,b', '"" is not host:port'],
    ['redis+cluster://a/1', 'a Redis Cluster has only number 0'],
    ['redis+sentinel://a', 'which primary the Sentinels watch'],
    ['redis+sentinel://a/', 'which primary the Sentinels watch'],
    ['redis+sentinel://a/mymaster/one', 'the number of a database'],
    ['redis+sentinel://a/mymaster/1/2', 'the number of a database'],
    ['redis+sentinel://a/mymaster?password=x', 'no "password" after the ?'],
  ])('refuses %s', (url, reason) => {
    expect(() => readRedisUrl(url)).toThrow(reason);
  });

  it.each(['redis+cluster://u:hunter2@a:x', 'redis+sentinel://u:hunter2@a', 'redis+x://u:hunter2@a'])(
    'repeats no password of %s',
    (url) => {
      try {
        readRedisUrl(url);
      } catch (error) {
        expect((error as Error).message).not.toContain('hunter2');
        return;
      }
      expect.unreachable();
    },
  );
});
