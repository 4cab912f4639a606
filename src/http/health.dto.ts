import { ApiExtraModels, ApiProperty, ApiPropertyOptional, getSchemaPath } from '@nestjs/swagger';

/** How one part is that the service stands on. */
class PartHealth {
  @ApiProperty({ enum: ['up', 'degraded', 'down'], enumName: 'PartStatus', example: 'up' })
  status!: string;

  @ApiPropertyOptional({ description: 'Why it is not up.', example: 'cannot be reached (ECONNREFUSED)' })
  message?: string;

  @ApiPropertyOptional({ description: 'Of the queue: `bull` or `in-process`.', example: 'bull' })
  engine?: string;

  @ApiPropertyOptional({ description: 'Of the queue: lanes that wait to be run.', example: 0 })
  waiting?: number;

  @ApiPropertyOptional({ description: 'Of the workers: how many report.', example: 2 })
  alive?: number;

  @ApiPropertyOptional({
    format: 'double',
    description: 'Of the replica: how far it is behind the primary.',
    example: 0.2,
  })
  lag_seconds?: number;
}

const PARTS = {
  type: 'object',
  additionalProperties: { $ref: getSchemaPath(PartHealth) },
  example: { postgres: { status: 'up' } },
} as const;

@ApiExtraModels(PartHealth)
export class HealthResponse {
  @ApiProperty({
    enum: ['ok', 'degraded', 'error', 'shutting_down'],
    enumName: 'HealthStatus',
    example: 'ok',
  })
  status!: string;

  @ApiPropertyOptional({ ...PARTS, description: 'The parts that are up or degraded.' })
  info?: Record<string, PartHealth>;

  @ApiPropertyOptional({ ...PARTS, description: 'The parts that are down.', example: {} })
  error?: Record<string, PartHealth>;

  @ApiProperty({ ...PARTS, description: 'All parts.' })
  details!: Record<string, PartHealth>;
}

export class ReadinessResponse {
  @ApiProperty({ enum: ['ready'], enumName: 'ReadinessStatus', example: 'ready' })
  status!: 'ready';
}
