import type { FieldError } from './errors.js';
import { stringEnd } from './json-spans.js';

/** That one refusal names. */
const MAX_ERRORS = 10;

/**
 * What a JSON document says that would not come back as it was given: numbers that a double cannot hold, and members
 * whose name comes twice, of which the last one alone would count (RFC 8259, sections 4 and 6).
 * @param bytes JSON that JSON.parse has accepted
 */
export function inexactPlaces(bytes: Buffer): FieldError[] {
  const scan = new Scan(bytes);
  scan.value();
  return scan.errors;
}

/** Goes over a document once, and knows where it is. */
class Scan {
  readonly errors: FieldError[] = [];
  private at = 0;
  private readonly path: (string | number)[] = [];

  constructor(private readonly bytes: Buffer) {}

  value(): void {
    const first = this.next();
    if (first === '{') this.object();
    else if (first === '[') this.array();
    else if (first === '"') this.at = stringEnd(this.bytes, this.at, this.bytes.length);
    else this.scalar();
  }

  private object(): void {
    const names = new Set<string>();
    this.at++;
    while (this.next() !== '}') {
      const name = this.name();
      this.path.push(name);
      if (names.has(name)) this.note('is there twice: send it once');
      names.add(name);
      this.next();
      this.at++; // the colon
      this.value();
      this.path.pop();
      if (this.next() === ',') this.at++;
    }
    this.at++;
  }

  private array(): void {
    this.at++;
    for (let index = 0; this.next() !== ']'; index++) {
      this.path.push(index);
      this.value();
      this.path.pop();
      if (this.next() === ',') this.at++;
    }
    this.at++;
  }

  private name(): string {
    const end = stringEnd(this.bytes, this.at, this.bytes.length);
    const name = JSON.parse(this.bytes.toString('utf8', this.at, end)) as string;
    this.at = end;
    return name;
  }

  /** A number, or one of the three names. */
  private scalar(): void {
    const start = this.at;
    while (this.at < this.bytes.length && /[\w.+-]/.test(this.character())) this.at++;
    const given = this.bytes.toString('latin1', start, this.at);
    if (/^[tfn]/.test(given) || isExact(given)) return;
    const kept = Number(given);
    const only = Number.isFinite(kept) ? `, only as ${kept}` : '';
    this.note(`cannot be kept exactly${only}: send a string, or a number that a double can hold`);
  }

  /** The next character that is no whitespace, at which this stands then. */
  private next(): string {
    while (this.at < this.bytes.length && /\s/.test(this.character())) this.at++;
    return this.character();
  }

  private character(): string {
    return String.fromCharCode(this.bytes[this.at] ?? 0);
  }

  private note(message: string): void {
    if (this.errors.length >= MAX_ERRORS) return;
    const path = this.path.reduce<string>((whole, part) => {
      if (typeof part === 'number') return `${whole}[${part}]`;
      return whole === '' ? part : `${whole}.${part}`;
    }, '');
    this.errors.push({ path: path.slice(0, 500) || 'body', message });
  }
}

/** Whether the double that a number becomes is written with the same digits: `1.0`, `1e0` and `1` are the same. */
function isExact(given: string): boolean {
  if (/^-?\d{1,15}$/.test(given)) return true;
  const kept = Number(given);
  return Number.isFinite(kept) && normalized(given) === normalized(String(kept));
}

/** Sign, digits and exponent without what means nothing: zeros at either end. Zero has no sign. */
function normalized(number: string): string {
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(number) ?? [];
  const digits = (whole + fraction).replace(/^0+/, '');
  const significant = digits.replace(/0+$/, '');
  if (significant === '') return '0';
  return `${sign}${significant}e${Number(exponent) - fraction.length + digits.length - significant.length}`;
}
