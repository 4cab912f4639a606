import { hash, timingSafeEqual } from 'node:crypto';
import { Controller, Get, Headers, Res } from '@nestjs/common';
import { ApiHeader, ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { PrometheusController } from '@willsoto/nestjs-prometheus';
import type { FastifyReply } from 'fastify';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { MetricsPage } from '../observability/metrics-page.js';
import { Public } from './access.js';
import { ApiProblems } from './api-docs.js';

/**
 * Whoever reaches the API reaches the metrics, and tenants must not see each other. So what names a tenant is for
 * METRICS_TOKEN and the admin key; with METRICS_TOKEN set, everything is.
 */
@ApiTags('Operations')
@Public()
@Controller()
export class MetricsController extends PrometheusController {
  private readonly keys: Buffer[];
  private readonly isOpen: boolean;

  constructor(
    { metricsToken, adminApiKey }: Config,
    private readonly page: MetricsPage,
  ) {
    super();
    this.keys = [metricsToken, adminApiKey].filter((key) => key !== null).map(sha256);
    this.isOpen = metricsToken === null;
  }

  @Get()
  @ApiOperation({
    summary: 'Metrics in the Prometheus text format',
    description:
      'Everything with `METRICS_TOKEN` or the admin key as Bearer token. Without a token, and none configured: the ' +
      'metrics that name no tenant. Rendered once a second at most.',
  })
  @ApiHeader({ name: 'Authorization', required: false, description: '`Bearer` and METRICS_TOKEN.' })
  @ApiProduces('text/plain')
  @ApiOkResponse({ description: 'The metrics of this process.' })
  @ApiProblems('unauthorized')
  override async index(
    @Res({ passthrough: true }) response: unknown,
    @Headers('authorization') authorization?: string,
  ): Promise<string> {
    const showsAll = this.isKnown(authorization);
    if (!showsAll && (authorization !== undefined || !this.isOpen)) {
      throw new Problem('unauthorized', 'Send "Authorization: Bearer " and METRICS_TOKEN, or the admin key.');
    }
    (response as FastifyReply).header('content-type', this.page.contentType);
    return this.page.read({ withTenants: showsAll });
  }

  private isKnown(authorization = ''): boolean {
    const presented = sha256(/^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '');
    return this.keys.some((key) => timingSafeEqual(key, presented));
  }
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
