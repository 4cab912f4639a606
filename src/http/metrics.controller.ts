import { hash, timingSafeEqual } from 'node:crypto';
import { Controller, Get, Headers, Res } from '@nestjs/common';
import { ApiHeader, ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { PrometheusController } from '@willsoto/nestjs-prometheus';
import type { FastifyReply } from 'fastify';
import { register } from 'prom-client';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { Public } from './access.js';
import { ApiProblems } from './api-docs.js';

/** Series with this label tell who uses the service, and for what. */
const TENANT_LABEL = 'tenant';

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

  constructor({ metricsToken, adminApiKey }: Config) {
    super();
    this.keys = [metricsToken, adminApiKey].filter((key) => key !== null).map(sha256);
    this.isOpen = metricsToken === null;
  }

  @Get()
  @ApiOperation({
    summary: 'Metrics in the Prometheus text format',
    description:
      'Everything with `METRICS_TOKEN` or the admin key as Bearer token. Without a token, and none configured: the ' +
      'metrics that name no tenant.',
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
    if (showsAll) return super.index(response);
    (response as FastifyReply).header('content-type', register.contentType);
    return withoutTenants();
  }

  private isKnown(authorization = ''): boolean {
    const presented = sha256(/^Bearer +(\S+)$/i.exec(authorization)?.[1] ?? '');
    return this.keys.some((key) => timingSafeEqual(key, presented));
  }
}

async function withoutTenants(): Promise<string> {
  const texts = register
    .getMetricsAsArray()
    .filter((metric) => !labelsOf(metric).includes(TENANT_LABEL))
    .map((metric) => register.getSingleMetricAsString(metric.name));
  return `${(await Promise.all(texts)).join('\n\n')}\n`;
}

/** Every metric has them; the types of prom-client do not say so. */
function labelsOf(metric: object): readonly string[] {
  return (metric as { labelNames: readonly string[] }).labelNames;
}

function sha256(text: string): Buffer {
  return hash('sha256', text, 'buffer');
}
