import { invalidRequest } from '../domain/errors.js';
import { isUuid } from '../domain/uuid-v7.js';

/** What part of a list is wanted: `cursor` is the id of the last row of the page before. */
export interface PageRequest {
  limit: number;
  cursor: string | null;
}

export interface Page<Row> {
  data: Row[];
  /** Opaque; null on the last page. */
  nextCursor: string | null;
}

/** The page of rows that a walk has found the ids of; `reached` is where the next one begins. */
export const pageUpTo = <Row>(data: Row[], reached: string | null): Page<Row> => ({
  data,
  nextCursor: reached === null ? null : encodeCursor(reached),
});

/** Cuts the one row too many that was read to learn whether there is a next page. */
export function toPage<Row extends { id: string }>(rows: Row[], limit: number): Page<Row> {
  const data = rows.slice(0, limit);
  const last = data.at(-1);
  return { data, nextCursor: rows.length > limit && last ? encodeCursor(last.id) : null };
}

export function encodeCursor(id: string): string {
  return Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url');
}

/** @throws Problem invalid_request when the cursor is not one that a list gave out */
export function decodeCursor(cursor: string | undefined): string | null {
  if (cursor === undefined) return null;
  const hex = Buffer.from(cursor, 'base64url').toString('hex');
  const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  if (!isUuid(id) || encodeCursor(id) !== cursor) {
    throw invalidRequest([{ path: 'cursor', message: 'must be the next_cursor of an earlier answer' }]);
  }
  return id;
}
