import { StringDecoder } from 'node:string_decoder';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw, constants } from 'node:zlib';

/** Bytes of a response body that are kept as text. */
export const TEXT_BYTES_KEPT = 4 * 1024;
/** Bytes of a compressed response body that are decompressed, to get at the former. */
export const CODED_BYTES_KEPT = 64 * 1024;

type Headers = ReadonlyMap<string, string>;

/** RFC 9110 section 8.4.1; they may end in the middle, since a part of the body is all there may be. */
const DECODERS: Record<string, (first: number) => NodeJS.ReadWriteStream & { destroy: () => unknown }> = {
  gzip: () => createGunzip(SHORT),
  'x-gzip': () => createGunzip(SHORT),
  // Some servers send deflate without the zlib header that the RFC wants.
  deflate: (first) => ((first & 0x0f) === 8 ? createInflate(SHORT) : createInflateRaw(SHORT)),
  br: () =>
    createBrotliDecompress({ chunkSize: TEXT_BYTES_KEPT, finishFlush: constants.BROTLI_OPERATION_FLUSH }),
};
const SHORT = { chunkSize: TEXT_BYTES_KEPT, finishFlush: constants.Z_SYNC_FLUSH };

export function isCoded(headers: Headers): boolean {
  return decoderOf(headers) !== undefined;
}

/**
 * The body for people to read: decompressed and decoded as its headers say. What is unknown or broken is given as the
 * text that its bytes are in UTF-8; nothing fails. A character that the limit cut in two is left out.
 *
 * @param isCut whether the body went on after these bytes
 * @returns the text itself, or its promise where it has to be decompressed, which does not reject
 */
export function responseText(bytes: Buffer, isCut: boolean, headers: Headers): string | Promise<string> {
  const decoder = bytes.length > 0 ? decoderOf(headers) : undefined;
  if (decoder === undefined) return textOf(bytes, isCut, headers);
  return decompress(decoder(bytes[0] as number), bytes).then((plain) =>
    plain === null
      ? textOf(bytes.subarray(0, TEXT_BYTES_KEPT), isCut || bytes.length > TEXT_BYTES_KEPT, headers)
      : textOf(plain.subarray(0, TEXT_BYTES_KEPT), isCut || plain.length > TEXT_BYTES_KEPT, headers),
  );
}

function decoderOf(headers: Headers) {
  const coding = headers.get('content-encoding');
  return coding === undefined || !Object.hasOwn(DECODERS, coding.toLowerCase())
    ? undefined
    : DECODERS[coding.toLowerCase()];
}

/** @returns as much as is kept and at least a byte more, if there is; null when nothing can be decompressed */
function decompress(
  decoder: NodeJS.ReadWriteStream & { destroy: () => unknown },
  bytes: Buffer,
): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let length = 0;
    const finish = () => {
      resolve(length === 0 ? null : Buffer.concat(parts));
      decoder.destroy();
    };
    decoder.on('data', (part: Buffer) => {
      parts.push(part);
      length += part.length;
      // The rest of a bomb stays compressed.
      if (length > TEXT_BYTES_KEPT) finish();
    });
    decoder.on('end', finish);
    decoder.on('error', finish);
    decoder.end(bytes);
  });
}

function textOf(bytes: Buffer, isCut: boolean, headers: Headers): string {
  if (bytes.length === 0) return '';
  const label = charsetOf(headers.get('content-type'));
  return withoutNul(
    decodeAs(label, bytes, isCut) ??
      (isCut ? new StringDecoder('utf8').write(bytes) : bytes.toString('utf8')),
  );
}

/** @returns null for UTF-8, and for what the Encoding standard does not know */
function decodeAs(label: string | null, bytes: Buffer, isCut: boolean): string | null {
  if (label === null || /^utf-?8$/i.test(label)) return null;
  try {
    return new TextDecoder(label).decode(bytes, { stream: isCut });
  } catch {
    return null;
  }
}

function charsetOf(contentType: string | undefined): string | null {
  if (contentType === undefined || !contentType.includes('=')) return null;
  return /;\s*charset\s*=\s*"?([\w.:-]{1,40})/i.exec(contentType)?.[1] ?? null;
}

/** Text in Postgres cannot hold U+0000. */
export function withoutNul(text: string): string {
  return text.includes('\0') ? text.replaceAll('\0', '') : text;
}
