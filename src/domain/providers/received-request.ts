/** What came to a source before its body, and before anything is believed of it. */
export interface RequestHead {
  method: string;
  /** Path and query as they were requested. */
  url: string;
  /** Named in lower case, the bytes of their values read as Latin-1, as in Node. */
  headers: Readonly<Record<string, string | undefined>>;
}

/** What came to a source, before anything is believed of it. */
export interface ReceivedRequest extends RequestHead {
  body: Buffer;
}

/** The value of a header, in whatever case it is named; null when there is none, or an empty one. */
export function headerOf({ headers }: RequestHead, name: string): string | null {
  // Of an object that is no Map, a name such as `constructor` gives what is no text.
  const value: unknown = headers[name.toLowerCase()];
  if (typeof value !== 'string') return null;
  const trimmed = value.trim();
  return trimmed === '' ? null : trimmed;
}
