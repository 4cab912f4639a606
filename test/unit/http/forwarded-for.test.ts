import fc from 'fast-check';
import { isIP } from 'node:net';
import { expect, it } from 'vitest';
import { addressesOf } from '../../../src/http/forwarded-for.js';

it.each([
  ['', []],
  ['203.0.113.7', ['203.0.113.7']],
  ['203.0.113.7,198.51.100.1 , 192.0.2.1', ['203.0.113.7', '198.51.100.1', '192.0.2.1']],
  ['unknown, 203.0.113.7', ['203.0.113.7']],
  ['203.0.113.7, unknown, 198.51.100.1', ['198.51.100.1']],
  ['203.0.113.7, ', []],
  ['203.0.113.7:51234', ['203.0.113.7']],
  ['[2001:db8::7]', ['2001:db8::7']],
  ['[2001:db8::7]:443', ['2001:db8::7']],
  ['[203.0.113.7', []],
  ['::FFFF:203.0.113.7', ['203.0.113.7']],
  ['::ffff:203.0.113.777', []],
  ['0x7f.1', []],
  ['127.1', []],
  ['203.0.113.07', []],
  ['203.0.113.7/32', []],
  ['fe80::1%eth0', []],
  ['localhost', []],
  ['"203.0.113.7"', []],
  ['for=203.0.113.7', []],
] as const)('takes from "%s" the addresses %j', (header, addresses) => {
  expect(addressesOf(header)).toEqual(addresses);
});

it('gives addresses alone, whatever the header is', () => {
  const part = fc.oneof(
    fc.ipV4(),
    fc.ipV6(),
    fc.string(),
    fc.constantFrom(',', ' ', '[', ']', ':', '::ffff:'),
  );
  fc.assert(
    fc.property(fc.array(part), (parts) => {
      for (const address of addressesOf(parts.join(','))) expect(isIP(address)).toBeGreaterThan(0);
    }),
  );
});
