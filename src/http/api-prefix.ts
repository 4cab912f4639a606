import type { INestApplication } from '@nestjs/common';

/** Where the resources of the API are. */
export const API_PREFIX = '/api/v1';

/** What operators and probes ask for is where they look for it. */
export function prefixRoutes(app: INestApplication): void {
  app.setGlobalPrefix(API_PREFIX, { exclude: ['/', 'health', 'ready', 'metrics'] });
}
