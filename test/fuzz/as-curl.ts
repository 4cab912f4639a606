import type { FuzzRequest } from './request-arbitrary.js';

/** The request as one line for bash, bytes that are not printable escaped. */
export function asCurl(url: string, { method, target, headers, body }: FuzzRequest): string {
  const parts = [
    `curl -g --path-as-is -X ${quoted(method)} ${quoted(`${url}/api/v1${target}`)}`,
    ...headers.map(([name, value]) => `-H ${quoted(value === '' ? `${name};` : `${name}: ${value}`)}`),
    ...(body === undefined ? [] : [`--data-binary ${quoted(body)}`]),
  ];
  return parts.join(' ');
}

const LONGEST = 2_000;

function quoted(text: string | Buffer): string {
  const bytes = Buffer.from(text as string).subarray(0, LONGEST);
  const escaped = [...bytes].map((byte) =>
    byte < 0x20 || byte > 0x7e
      ? `\\x${byte.toString(16).padStart(2, '0')}`
      : String.fromCharCode(byte).replace(/[\\']/, '\\$&'),
  );
  return `$'${escaped.join('')}'${bytes.length === LONGEST ? '…' : ''}`;
}
