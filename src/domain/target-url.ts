import { isIP } from 'node:net';

const MAX_URL_LENGTH = 2048;

/**
 * Ports of protocols that a POST could be mistaken for or could talk into something, such as SMTP: the bad ports of
 * the Fetch standard (section 2.9, port blocking), which no browser calls either, and port 0, which is none.
 */
const BAD_PORTS = new Set([
  0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
  109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515,
  526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049,
  3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
]);

/** A target URL that no subscription may have; the message says what to write instead. */
export class InvalidTargetUrl extends Error {
  override readonly name = 'InvalidTargetUrl';
}

/**
 * The URL of a subscription's target, normalised as WHATWG URL does (so 127.1, 0x7f000001 and 2130706433 come out as
 * 127.0.0.1).
 *
 * @throws InvalidTargetUrl unless it is absolute, http or https, of at most 2,048 characters, for a port that HTTP may
 *   be on, and without credentials, fragment, whitespace and control characters
 */
export function parseTargetUrl(input: string): URL {
  if (input.length > MAX_URL_LENGTH) {
    throw new InvalidTargetUrl(`must have at most ${MAX_URL_LENGTH} characters`);
  }
  // Before parsing: WHATWG URL drops tabs and newlines without a word.
  if (/[\s\p{Cc}]/u.test(input)) {
    throw new InvalidTargetUrl('must not hold spaces or control characters: percent-encode them');
  }
  if (!/^https?:\/\/[^/\\?]/i.test(input)) {
    throw new InvalidTargetUrl('must begin with https:// or http:// and a host');
  }
  if (input.includes('#')) throw new InvalidTargetUrl('must have no fragment: leave out # and what follows');
  if (!URL.canParse(input)) throw new InvalidTargetUrl('must be a URL such as https://example.com/hook');
  const url = new URL(input);
  if (url.username !== '' || url.password !== '') {
    throw new InvalidTargetUrl('must have no user name or password: use the headers of the subscription');
  }
  if (url.port !== '' && BAD_PORTS.has(Number(url.port))) {
    throw new InvalidTargetUrl(`must not name port ${url.port}, which is not for HTTP`);
  }
  return url;
}

/**
 * The addresses that the URL's host means without asking DNS: the one that it names, IPv6 without brackets (WHATWG URL
 * has made every spelling of an IPv4 address, a trailing dot included, into the dotted one), or those of `localhost`
 * and the names under it (RFC 6761 section 6.3). None for other names.
 */
export function knownAddresses(url: URL): string[] {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  if (isIP(host) !== 0) return [host];
  return /(^|\.)localhost\.?$/.test(host) ? ['127.0.0.1', '::1'] : [];
}
