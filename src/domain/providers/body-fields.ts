import { isUtf8 } from 'node:buffer';
import { asUtf8 } from '../byte-order-mark.js';
import { exceededLimit } from '../json-cost.js';
import { memberSpans, type Span } from '../json-spans.js';
import { type Form, parseForm, valueOf } from './form.js';

/** Deeper and longer than any webhook; bounds what reading one can take. */
const READABLE = { depth: 100, pieces: 750_000 };
const OPEN_BRACE = '{'.charCodeAt(0);
const OPEN_BRACKET = '['.charCodeAt(0);
const QUOTE = '"'.charCodeAt(0);
const WHITESPACE = new Set(Buffer.from(' \t\r\n'));

/** The text of the field of a body, null when there is none. */
export type BodyFields = (path: string) => string | null;

/**
 * What a body says, for the few who ask: of JSON what the dotted path leads to, if it is a string or a number; else the
 * parameter of that name of a form. Which of the two it is shows in its bytes: they may be signed, while its content
 * type is not, and a copy under another one would lose its id. It is read when it is first asked, and never altered.
 * @param formOf reads its form, and may have done so for the signature
 */
export function fieldsOf(body: Buffer, formOf: (body: Buffer) => Form | null = parseForm): BodyFields {
  let read: BodyFields | undefined;
  return (path) => (read ??= open(body, formOf))(path);
}

function open(received: Buffer, formOf: (body: Buffer) => Form | null): BodyFields {
  // A mark at the beginning says nothing about what is sent; without it taken off, type and id would be lost.
  const body = asUtf8(received);
  const first = body.find((byte) => !WHITESPACE.has(byte));
  if (first === OPEN_BRACE || first === OPEN_BRACKET) {
    return isJson(body) ? (path) => textAt(body, path) : () => null;
  }
  const form = formOf(body);
  return (name) => form && valueOf(form, name);
}

function isJson(body: Buffer): boolean {
  if (!isUtf8(body) || exceededLimit(body, READABLE) !== null) return false;
  try {
    JSON.parse(body.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}

/** A number is given as it is written: two ids beyond 2^53 must not become one. */
function textAt(json: Buffer, path: string): string | null {
  const span = spanAt(json, path.split('.'));
  if (span === null) return null;
  const text = json.toString('utf8', span.start, span.end);
  if (json[span.start] === QUOTE) return JSON.parse(text) as string;
  return /^[-\d]/.test(text) ? text : null;
}

function spanAt(json: Buffer, names: string[]): Span | null {
  // Whitespace may be before the outermost value alone.
  let span: Span = { start: json.findIndex((byte) => !WHITESPACE.has(byte)), end: json.length };
  for (const name of names) {
    if (json[span.start] !== OPEN_BRACE) return null;
    const member = memberSpans(json, span.start, span.end).get(name);
    if (member === undefined) return null;
    span = member;
  }
  return span;
}
