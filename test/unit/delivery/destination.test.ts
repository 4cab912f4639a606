import { describe, expect, it } from 'vitest';
import { Destinations } from '../../../src/delivery/destination.js';
import { AddressRules } from '../../../src/domain/target-address.js';

const family = (address: string) => (address.includes(':') ? 6 : 4);

/** After the names of `known` were looked up. */
async function destinationsWhere(known: Record<string, string[]>): Promise<Destinations> {
  const destinations = new Destinations(AddressRules.parse('127.0.0.0/8,10.0.0.0/8'));
  const resolve = destinations.learning((name) =>
    Promise.resolve(known[name]!.map((address) => ({ address, family: family(address) }))),
  );
  for (const name of Object.keys(known)) await resolve(name);
  return destinations;
}

describe('a destination', () => {
  it.each<[string, string, string[]]>([
    ['a name that was not looked up', 'https://new.example/hook', ['new.example']],
    ['whatever its case, port and path', 'http://NEW.example:8080/other?x=1', ['new.example']],
    ['a name that was looked up', 'https://one.example/', ['203.0.113.7']],
    ['another name of the same address', 'https://two.example/', ['203.0.113.7']],
    ['the address itself', 'http://203.0.113.7/', ['203.0.113.7']],
    ['in another spelling', 'http://0xcb007107/', ['203.0.113.7']],
    ['an address of IPv6', 'http://[2001:DB8::1]/', ['2001:db8::1']],
    [
      'a name with several, in any order',
      'http://many.example/',
      ['1.1.1.1', '1.1.1.2', '1.1.1.3', '1.1.1.4'],
    ],
    ['loopback, which the operator allows', 'http://127.0.0.1:9000/', []],
    ['by name', 'http://localhost:9000/', []],
    ['a name within the network of the operator', 'http://inside.example/', []],
    ['no URL', 'nonsense', []],
  ])('is, of %s', async (_, url, destination) => {
    const destinations = await destinationsWhere({
      'one.example': ['203.0.113.7'],
      'two.example': ['203.0.113.7'],
      'many.example': ['1.1.1.5', '1.1.1.3', '1.1.1.1', '1.1.1.4', '1.1.1.2'],
      'inside.example': ['10.1.2.3'],
    });
    expect(destinations.of(url)).toEqual(destination);
  });

  it('is forgotten one by one, oldest first', async () => {
    const names = Array.from({ length: 10_001 }, (_, index) => `n${index}.example`);
    const destinations = await destinationsWhere(
      Object.fromEntries(names.map((name) => [name, ['203.0.113.7']])),
    );
    expect(destinations.of('http://n0.example/')).toEqual(['n0.example']);
    expect(destinations.of('http://n1.example/')).toEqual(['203.0.113.7']);
  });
});
