import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiPropertyOptional, ApiTags } from '@nestjs/swagger';
import { Config } from '../config/config.js';
import { VERSION } from '../domain/version.js';
import { Public } from './access.js';

class EntryResponse {
  @ApiProperty({ example: 'Posthorn' })
  name: string = 'Posthorn';

  @ApiProperty({ example: VERSION })
  version: string = VERSION;

  @ApiPropertyOptional({ example: '/docs', description: 'A page on which every route can be tried.' })
  docs?: string;

  @ApiPropertyOptional({ example: '/docs-json', description: 'The same as an OpenAPI document.' })
  openapi?: string;

  @ApiProperty({ example: '/health' })
  health: string = '/health';

  @ApiProperty({ example: '/api/v1', description: 'What the paths of the API begin with.' })
  api: string = '/api/v1';

  constructor(servesDocs: boolean) {
    if (servesDocs) Object.assign(this, { docs: '/docs', openapi: '/docs-json' });
  }
}

/** What a person or a program finds who knows nothing but the address. */
@ApiTags('Operations')
@Public()
@Controller()
export class EntryController {
  constructor(private readonly config: Config) {}

  @Get()
  @ApiOperation({ summary: 'What this is, and where to go from here' })
  @ApiOkResponse({ type: EntryResponse })
  getServiceInformation(): EntryResponse {
    return new EntryResponse(this.config.servesDocs);
  }
}
