import type { FieldError } from './errors.js';
import { decodeKey, stringEnd } from './json-spans.js';

const TAB = 0x09;
const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const DOT = 0x2e;
const MINUS = 0x2d;
const PLUS = 0x2b;
const ZERO = 0x30;
const NINE = 0x39;
const UPPER_E = 0x45;
const LOWER_E = 0x65;
const LOWER_A = 0x61;
const LOWER_Z = 0x7a;

/** What is said of a member whose name comes twice. */
export const REPEATED = 'is there twice: send it once';

/** That one refusal names. */
const MAX_ERRORS = 10;
/** Of a number. The longest one that a double can hold and JSON.stringify writes has 25. */
const MAX_NUMBER_LENGTH = 400;
/** Every decimal of so many digits has a double of its own, which is written with the same digits (DBL_DIG of C). */
const SAFE_DIGITS = 15;
/** Powers of ten between which that holds. At both ends of the range it needs the number: {@link isNormal}. */
const SAFE_MAGNITUDE = 307;
/** The smallest double with all its digits. */
const SMALLEST_NORMAL = 2 ** -1022;

interface Wanted {
  /** Whether numbers must be kept exactly; false where they are only compared. */
  exactNumbers: boolean;
}

/**
 * What a JSON document says that would not come back as it was given: numbers that a double cannot hold, and members
 * whose name comes twice, of which the last one alone would count (RFC 8259, sections 4 and 6). The first ten places.
 * It takes about as long as JSON.parse: plain loops over bytes, since every request passes through here.
 * @param bytes JSON that JSON.parse has accepted
 */
export function inexactPlaces(bytes: Buffer, wanted: Wanted = { exactNumbers: true }): FieldError[] {
  const scan = new Scan(bytes, wanted);
  scan.value();
  return scan.errors;
}

/** Goes over a document once, and knows where it is. */
class Scan {
  readonly errors: FieldError[] = [];
  private at = 0;
  private depth = 0;
  /** Whether the number that was skipped last has no more digits than every double keeps. */
  private hasFewDigits = false;
  /** Names and indexes from the outside inwards, of which the first `depth` count. */
  private readonly path: (string | number)[] = [];

  constructor(
    private readonly bytes: Buffer,
    private readonly wanted: Wanted,
  ) {}

  value(): void {
    const first = this.next();
    if (first === QUOTE) this.at = stringEnd(this.bytes, this.at, this.bytes.length);
    else if (first === OPEN_BRACE) this.object();
    else if (first === OPEN_BRACKET) this.array();
    else if (first >= LOWER_A) this.literal();
    else this.number();
  }

  private object(): void {
    const depth = this.depth++;
    let first: string | undefined;
    let names: Set<string> | undefined;
    this.at++;
    while (!this.isDone(CLOSE_BRACE)) {
      const name = this.name();
      this.path[depth] = name;
      if (first === undefined) first = name;
      else {
        names ??= new Set([first]);
        if (names.has(name)) this.note(REPEATED);
        names.add(name);
      }
      this.next();
      this.at++; // the colon
      this.value();
      if (this.next() === COMMA) this.at++;
    }
    this.at++;
    this.depth = depth;
  }

  private array(): void {
    const depth = this.depth++;
    this.at++;
    for (let index = 0; !this.isDone(CLOSE_BRACKET); index++) {
      this.path[depth] = index;
      this.value();
      if (this.next() === COMMA) this.at++;
    }
    this.at++;
    this.depth = depth;
  }

  /** Whether a container ends here; all of them do when enough was found. */
  private isDone(bracket: number): boolean {
    return this.next() === bracket || this.errors.length >= MAX_ERRORS;
  }

  private name(): string {
    const start = this.at;
    this.at = stringEnd(this.bytes, start, this.bytes.length);
    return decodeKey(this.bytes, start, this.at);
  }

  /** `true`, `false` or `null`. */
  private literal(): void {
    while (this.byte() >= LOWER_A && this.byte() <= LOWER_Z) this.at++;
  }

  private number(): void {
    const start = this.at;
    const isSafe = this.skipNumber();
    if (isSafe || !this.wanted.exactNumbers) return;
    if (this.at - start > MAX_NUMBER_LENGTH) {
      this.note(`is a number of more than ${MAX_NUMBER_LENGTH} characters: send a string`);
      return;
    }
    const given = this.bytes.toString('latin1', start, this.at);
    const kept = Number(given);
    if (this.hasFewDigits && isNormal(kept)) return;
    const written = String(kept);
    if (given === written || (Number.isFinite(kept) && isSameDecimal(given, written))) return;
    const only = Number.isFinite(kept) ? `, only as ${written}` : '';
    this.note(`cannot be kept exactly${only}: send a string, or a number that a double can hold`);
  }

  /** Whether it is exact for having few digits, as nearly all numbers have; of the others nothing is known yet. */
  private skipNumber(): boolean {
    const start = this.at;
    let digits = 0;
    let whole = -1;
    let first = -1;
    let last = -1;
    let byte = this.byte();
    for (; byte === DOT || byte === MINUS || isDigit(byte); byte = this.bytes[++this.at] ?? 0) {
      if (byte === DOT) whole = digits;
      if (byte === DOT || byte === MINUS) continue;
      if (byte !== ZERO) {
        if (first === -1) first = digits;
        last = digits;
      }
      digits++;
    }
    const exponent = byte === LOWER_E || byte === UPPER_E ? this.exponent() : 0;
    const magnitude = (whole === -1 ? digits : whole) - 1 - first + exponent;
    this.hasFewDigits = last - first < SAFE_DIGITS;
    const isShort = this.at - start <= MAX_NUMBER_LENGTH;
    return isShort && this.hasFewDigits && Math.abs(magnitude) <= SAFE_MAGNITUDE;
  }

  private exponent(): number {
    let isNegative = false;
    let exponent = 0;
    for (let byte = this.bytes[++this.at] ?? 0; ; byte = this.bytes[++this.at] ?? 0) {
      if (byte === MINUS) isNegative = true;
      else if (isDigit(byte)) exponent = exponent * 10 + byte - ZERO;
      else if (byte !== PLUS) return isNegative ? -exponent : exponent;
    }
  }

  /** The next byte that is no whitespace, at which this stands then; 0 behind the last. */
  private next(): number {
    let byte = this.byte();
    while (isWhitespace(byte)) byte = this.bytes[++this.at] ?? 0;
    return byte;
  }

  private byte(): number {
    return this.bytes[this.at] ?? 0;
  }

  private note(message: string): void {
    const path = this.path.slice(0, this.depth).reduce<string>((whole, part) => {
      if (typeof part === 'number') return `${whole}[${part}]`;
      return whole === '' ? part : `${whole}.${part}`;
    }, '');
    this.errors.push({ path: path.slice(0, 500) || 'body', message });
  }
}

const isWhitespace = (byte: number): boolean =>
  byte === SPACE || byte === NEWLINE || byte === CARRIAGE_RETURN || byte === TAB;

const isDigit = (byte: number): boolean => byte >= ZERO && byte <= NINE;

/** Whether a double is as precise as most are: neither infinite nor so small that it has fewer digits. */
const isNormal = (number: number): boolean => Number.isFinite(number) && Math.abs(number) >= SMALLEST_NORMAL;

/** Whether two numbers are the same but for how they are written: `1.0`, `1e0` and `1`. Zero has no sign. */
function isSameDecimal(one: string, other: string): boolean {
  const a = decimalOf(one);
  const b = decimalOf(other);
  return (
    a.digits === b.digits && (a.digits === '' || (a.exponent === b.exponent && a.isNegative === b.isNegative))
  );
}

interface Decimal {
  isNegative: boolean;
  /** Without zeros at either end. */
  digits: string;
  /** The last digit counts 10 to the power of it. */
  exponent: number;
}

function decimalOf(number: string): Decimal {
  const isNegative = number.startsWith('-');
  const e = Math.max(number.indexOf('e'), number.indexOf('E'));
  const mantissaEnd = e === -1 ? number.length : e;
  const dot = number.indexOf('.');
  const whole = number.slice(isNegative ? 1 : 0, dot === -1 ? mantissaEnd : dot);
  const fraction = dot === -1 ? '' : number.slice(dot + 1, mantissaEnd);
  const all = whole + fraction;
  let start = 0;
  let end = all.length;
  while (start < end && all.charCodeAt(start) === ZERO) start++;
  while (end > start && all.charCodeAt(end - 1) === ZERO) end--;
  const exponent = (e === -1 ? 0 : Number(number.slice(e + 1))) - fraction.length + all.length - end;
  return { isNegative, digits: all.slice(start, end), exponent };
}
