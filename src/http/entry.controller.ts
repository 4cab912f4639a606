import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import { VERSION } from '../domain/version.js';
import { Public } from './access.js';

class EntryResponse {
  @ApiProperty({ example: 'Posthorn' })
  name: string = 'Posthorn';

  @ApiProperty({ example: VERSION })
  version: string = VERSION;

  @ApiProperty({ example: '/docs', description: 'A page on which every route can be tried.' })
  docs: string = '/docs';

  @ApiProperty({ example: '/docs-json', description: 'The same as an OpenAPI document.' })
  openapi: string = '/docs-json';

  @ApiProperty({ example: '/health' })
  health: string = '/health';

  @ApiProperty({ example: '/api/v1', description: 'What the paths of the API begin with.' })
  api: string = '/api/v1';
}

/** What a person or a program finds who knows nothing but the address. */
@ApiTags('Operations')
@Public()
@Controller()
export class EntryController {
  @Get()
  @ApiOperation({ summary: 'What this is, and where to go from here' })
  @ApiOkResponse({ type: EntryResponse })
  getEntry(): EntryResponse {
    return new EntryResponse();
  }
}
