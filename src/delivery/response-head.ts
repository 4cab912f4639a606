/** The status line and the headers of one answer, as lenient as curl and node:http are together. */
export interface ResponseHead {
  /** 100 to 999. */
  statusCode: number;
  isHttp10: boolean;
  /** Lower-case names; several values of a name are joined by `, `. Bytes are ISO-8859-1 (RFC 9112 section 2.2). */
  headers: Map<string, string>;
  /** The first of them; they are no list, and a date has a comma of its own (RFC 9110 section 10.2.3). */
  retryAfter: string | null;
  /** Something in it broke the grammar, so that another reader might understand it differently. */
  isOdd: boolean;
}

/** RFC 9112 section 4, with more than one space, and without the reason phrase or the space before it. */
const STATUS_LINE = /^HTTP\/1\.(\d) +([1-9]\d\d)(?: .*)?$/;
/** Header lines that are read, folded ones included; what follows them is passed over, as Node does. */
const MAX_LINES = 2_000;
const TOKEN = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
// eslint-disable-next-line no-control-regex -- these are the characters that RFC 9110 section 5.5 forbids in a value
const FORBIDDEN_IN_VALUE = /[\0-\x08\x0a-\x1f\x7f]/;

/**
 * @param text the head up to and with its empty line, decoded as ISO-8859-1; lines end with CRLF or LF
 * @returns null when the first line is not a status line of HTTP/1.x
 */
export function parseHead(text: string): ResponseHead | null {
  let end = text.indexOf('\n');
  const firstLine = lineAt(text, 0, end);
  const status = STATUS_LINE.exec(firstLine);
  if (status === null) return null;

  const headers = new Map<string, string>();
  let firstRetryAfter: string | undefined;
  let isOdd = false;
  let lastName: string | null = null;
  /** Of the last header: joined once, so that many folded lines cost no more than their bytes. */
  let folded: string[] = [];
  const addLast = (): void => {
    if (lastName === null) return;
    const value =
      folded.length === 1 ? (folded[0] as string) : folded.filter((part) => part !== '').join(' ');
    const earlier = headers.get(lastName);
    if (earlier !== undefined && lastName === 'retry-after') firstRetryAfter ??= earlier;
    headers.set(lastName, earlier === undefined ? value : `${earlier}, ${value}`);
    lastName = null;
  };
  let lines = 0;
  let start = end + 1;
  while ((end = text.indexOf('\n', start)) !== -1) {
    const line = lineAt(text, start, end);
    // A line that ends with LF alone is read by everyone, but not by everyone alike.
    if (end === start || text.charCodeAt(end - 1) !== 13) isOdd = true;
    start = end + 1;
    if (line === '') break;
    lines += 1;
    if (lines > MAX_LINES) {
      isOdd = true;
      break;
    }
    const first = line.charCodeAt(0);
    const colon = line.indexOf(':');
    if (first === 32 || first === 9) {
      // obs-fold, RFC 9112 section 5.2.
      isOdd = true;
      folded.push(line.trim());
      continue;
    }
    addLast();
    const name = line.slice(0, Math.max(colon, 0)).trim().toLowerCase();
    if (name === '') {
      isOdd = true;
      continue;
    }
    const value = line.slice(colon + 1).trim();
    if (!TOKEN.test(name) || line.charCodeAt(colon - 1) <= 32 || FORBIDDEN_IN_VALUE.test(value)) isOdd = true;
    lastName = name;
    folded = [value];
  }
  addLast();
  const retryAfter = firstRetryAfter ?? headers.get('retry-after') ?? null;
  return { statusCode: Number(status[2]), isHttp10: status[1] === '0', headers, retryAfter, isOdd };
}

function lineAt(text: string, start: number, end: number): string {
  return text.slice(start, end > start && text.charCodeAt(end - 1) === 13 ? end - 1 : end);
}
