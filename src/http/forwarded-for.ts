import type { FastifyInstance } from 'fastify';
import { isIP } from 'node:net';

/**
 * Leaves in X-Forwarded-For what Fastify can take addresses from: it would pass on any text as `request.ip`. Whether
 * the header counts at all, and how much of it, is decided by the list of trusted proxies.
 */
export function cleanForwardedFor(server: FastifyInstance): void {
  server.addHook('onRequest', ({ raw: { headers } }, _reply, done) => {
    const given = headers['x-forwarded-for'];
    if (given !== undefined) headers['x-forwarded-for'] = addressesOf(String(given)).join(', ');
    done();
  });
}

/**
 * The addresses of an X-Forwarded-For, the nearest hop last. A proxy that wrote an entry which is no address cannot have
 * known its client, so that entry and everything before it is left out.
 */
export function addressesOf(header: string): string[] {
  const entries = header.split(',');
  const addresses = [];
  for (let entry = entries.pop(); entry !== undefined; entry = entries.pop()) {
    const address = bareAddress(entry.trim());
    // A zone means something on its own link only.
    if (isIP(address) === 0 || address.includes('%')) break;
    addresses.unshift(address);
  }
  return addresses;
}

/** Without the port that some proxies add, brackets, and the IPv6 form of an IPv4 address. */
function bareAddress(entry: string): string {
  const bare = /^\[([\da-f:.]+)\](?::\d+)?$/i.exec(entry)?.[1] ?? /^([\d.]+):\d+$/.exec(entry)?.[1] ?? entry;
  return bare.replace(/^::ffff:(?=[\d.]+$)/i, '');
}
