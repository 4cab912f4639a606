import { invalidRequest } from '../domain/errors.js';
import { isUuid } from '../domain/uuid-v7.js';
import type { Cut } from '../persistence/repositories/search.repository.js';

const BYTES = 17;
const DIRECTIONS = { older: 1, newer: 2 } as const;

/** Opaque: the direction, and the id at which the walk goes on. */
export function encodeCut({ direction, id }: Cut): string {
  return Buffer.concat([
    Buffer.of(DIRECTIONS[direction]),
    Buffer.from(id.replaceAll('-', ''), 'hex'),
  ]).toString('base64url');
}

/** @throws Problem invalid_request when it is none that a search gave out */
export function decodeCut(cursor: string | undefined): Cut | null {
  if (cursor === undefined) return null;
  const bytes = Buffer.from(cursor, 'base64url');
  const id = bytes.toString('hex', 1).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  const direction = bytes[0] === DIRECTIONS.older ? 'older' : 'newer';
  if (bytes.length !== BYTES || !isUuid(id) || encodeCut({ direction, id }) !== cursor) {
    throw invalidRequest([
      { path: 'cursor', message: 'must be the next_cursor or previous_cursor of an earlier answer' },
    ]);
  }
  return { direction, id };
}
