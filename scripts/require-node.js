/** To be imported first: ends the process with a clear message when this Node is older than package.json asks for. */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { URL } from 'node:url';

/** @type {unknown} */
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
const { engines } = /** @type {{ engines: { node: string } }} */ (manifest);
/** `>=20.19`; this runs where a library that reads ranges may not. */
const least = engines.node.replace('>=', '');

if (isBelow(process.versions.node, least)) {
  process.stderr.write(
    `Posthorn needs Node ${least} or later, and this is Node ${process.versions.node} (${process.execPath}).\n` +
      'Install a later one from https://nodejs.org, then run npm ci again.\n',
  );
  process.exit(1);
}

/** @type {(version: string, bound: string) => boolean} */
function isBelow(version, bound) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = bound.split('.').map(Number);
  return major < leastMajor || (major === leastMajor && minor < leastMinor);
}
