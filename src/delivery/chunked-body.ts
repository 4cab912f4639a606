const CR = 13;
const LF = 10;
/** Hexadecimal digits of a chunk's size: beyond these it is larger than anything that is read. */
const MAX_SIZE_DIGITS = 8;

type State = 'size' | 'extension' | 'data' | 'data-end' | 'trailer' | 'done' | 'broken';

/**
 * The chunked transfer coding (RFC 9112 section 7.1), incremental: it may be given its bytes in any pieces. Extensions
 * and trailers are passed over, and lines may end with LF alone. The caller bounds the bytes.
 */
export class ChunkedBody {
  state: State = 'size';
  /** The coding was read, but in a spelling that other readers may take differently. */
  isOdd = false;
  private size = 0;
  private digits = 0;
  private lineLength = 0;
  private lastByte = 0;

  /**
   * @param onData is given parts of the body, and says whether it wants more
   * @returns how many bytes belonged to the body; fewer than there are when it is done, broken, or not wanted any more
   */
  push(bytes: Buffer, from: number, onData: (part: Buffer) => boolean): number {
    let at = from;
    while (at < bytes.length && this.state !== 'done' && this.state !== 'broken') {
      if (this.state === 'data') {
        const part = bytes.subarray(at, at + this.size);
        at += part.length;
        this.size -= part.length;
        if (this.size === 0) {
          this.state = 'data-end';
          this.lastByte = 0;
        }
        if (!onData(part)) return at - from;
      } else {
        this.step(bytes[at] as number);
        at += 1;
      }
    }
    return at - from;
  }

  private step(byte: number): void {
    switch (this.state) {
      case 'size':
        this.readSize(byte);
        break;
      case 'extension':
        if (byte === LF) this.endSizeLine();
        break;
      case 'data-end':
        if (byte === LF) this.begin('size');
        else if (byte !== CR || this.lastByte === CR) this.state = 'broken';
        break;
      case 'trailer':
        if (byte === LF && this.lineLength === 0) {
          this.noteLineEnd();
          this.state = 'done';
        } else if (byte === LF) {
          this.begin('trailer');
        } else if (byte !== CR) {
          this.lineLength += 1;
        }
        break;
    }
    this.lastByte = byte;
  }

  private readSize(byte: number): void {
    const digit = hexValue(byte);
    if (digit !== -1) {
      this.size = this.size * 16 + digit;
      this.digits += 1;
      if (this.digits > MAX_SIZE_DIGITS) this.state = 'broken';
    } else if (this.digits === 0) {
      this.state = 'broken';
    } else if (byte === LF) {
      this.endSizeLine();
    } else if (byte === 59 /* ; */ || byte === 32 || byte === 9 || byte === CR) {
      this.state = 'extension';
    } else {
      this.state = 'broken';
    }
  }

  private endSizeLine(): void {
    this.noteLineEnd();
    if (this.size > 0) this.state = 'data';
    else this.begin('trailer');
  }

  private begin(state: 'size' | 'trailer'): void {
    this.noteLineEnd();
    this.state = state;
    this.size = 0;
    this.digits = 0;
    this.lineLength = 0;
  }

  private noteLineEnd(): void {
    if (this.lastByte !== CR) this.isOdd = true;
  }
}

function hexValue(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
