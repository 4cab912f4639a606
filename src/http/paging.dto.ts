import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Type } from 'class-transformer';
import { IsInt, IsString, Max, Min } from 'class-validator';
import { decodeCursor, Page, PageRequest } from '../persistence/page.js';
import { MayBeLeftOut } from './may-be-left-out.js';

/** The query of every list. */
export class PageQuery {
  @ApiPropertyOptional({ minimum: 1, maximum: 100, default: 50, description: 'Rows a page.' })
  @MayBeLeftOut()
  @Type(() => Number)
  @Min(1)
  @Max(100)
  @IsInt({ message: 'must be a whole number from 1 to 100' })
  limit: number = 50;

  @ApiPropertyOptional({ description: 'The `next_cursor` of the page before.' })
  @MayBeLeftOut()
  @IsString()
  cursor?: string;

  /** @throws Problem invalid_request for a cursor that no list gave out */
  static toRequest({ limit, cursor }: PageQuery): PageRequest {
    return { limit, cursor: decodeCursor(cursor) };
  }
}

/** What every list answers with; each list adds its typed `data`. */
export class PageResponse {
  @ApiProperty({ type: String, nullable: true, example: null, description: 'Null on the last page.' })
  next_cursor!: string | null;
}

export function pageResponse<Row, Response>(
  page: Page<Row>,
  from: (row: Row) => Response,
): { data: Response[]; next_cursor: string | null } {
  return { data: page.data.map(from), next_cursor: page.nextCursor };
}
