/** What came to a source, before anything is believed of it. */
export interface ReceivedRequest {
  method: string;
  /** Path and query as they were requested. */
  url: string;
  /** Named in lower case, the bytes of their values read as Latin-1, as in Node. */
  headers: Readonly<Record<string, string | undefined>>;
  body: Buffer;
}

/** A form that a webhook comes in has few; a hostile one could have a million, which are sorted before they are believed. */
const MAX_PARAMETERS = 1_000;
const AMPERSAND = 0x26;

/** The value of a header, in whatever case it is named; null when there is none, or an empty one. */
export function headerOf({ headers }: ReceivedRequest, name: string): string | null {
  // Of an object that is no Map, a name such as `constructor` gives what is no text.
  const value: unknown = headers[name.toLowerCase()];
  if (typeof value !== 'string') return null;
  const trimmed = value.trim();
  return trimmed === '' ? null : trimmed;
}

/** A body's parameters, in order, read as a form whatever it is; null when it has more than any webhook. */
export function parametersOf(body: Buffer): URLSearchParams | null {
  let separators = 0;
  for (let at = body.indexOf(AMPERSAND); at !== -1; at = body.indexOf(AMPERSAND, at + 1)) {
    if (++separators >= MAX_PARAMETERS) return null;
  }
  return new URLSearchParams(body.toString('utf8'));
}
