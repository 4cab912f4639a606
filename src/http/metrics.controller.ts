import { Controller, Get, Req, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import { PrometheusController } from '@willsoto/nestjs-prometheus';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Config } from '../config/config.js';
import { Problem } from '../domain/errors.js';
import { MetricsPage } from '../observability/metrics-page.js';
import { sha256Of } from '../persistence/key-cache.js';
import { Public } from './access.js';
import { ApiProblems } from './openapi/api-problems.js';
import { AuthFailureLimit } from './auth-failure-limit.js';
import { OperatorKeys } from './operator-keys.js';
import { presentedKey } from './presented-key.js';

/**
 * A client that reaches the API reaches the metrics, and tenants must not see each other. So what names a tenant needs
 * METRICS_TOKEN or an operator key. The rest does as well, unless the service is for its own machine alone or
 * METRICS_PUBLIC says otherwise.
 */
@ApiTags('Operations')
@Public()
@Controller()
export class MetricsController extends PrometheusController {
  private readonly tokenHash: string | null;
  private readonly isOpen: boolean;

  constructor(
    { metricsToken, metricsArePublic }: Config,
    private readonly operators: OperatorKeys,
    private readonly failures: AuthFailureLimit,
    private readonly page: MetricsPage,
  ) {
    super();
    this.tokenHash = metricsToken === null ? null : sha256Of(metricsToken);
    this.isOpen = metricsArePublic;
  }

  @Get()
  @ApiOperation({
    operationId: 'getMetrics',
    summary: 'Metrics in the Prometheus text format',
    description:
      'Everything with `METRICS_TOKEN` or an operator key as Bearer token. Without one, the metrics that name no ' +
      'tenant, where the service listens on loopback alone and has no `METRICS_TOKEN`, or has `METRICS_PUBLIC=on`; ' +
      'elsewhere nothing. Rendered once a second at most.',
  })
  @ApiProduces('text/plain')
  @ApiOkResponse({ schema: { type: 'string' }, description: 'The metrics of this process.' })
  @ApiProblems('unauthorized', 'ip_not_allowed', 'rate_limited')
  override async index(
    @Res({ passthrough: true }) response: unknown,
    @Req() request?: FastifyRequest,
  ): Promise<string> {
    const withTenants = this.authenticate(request as FastifyRequest);
    (response as FastifyReply).header('content-type', this.page.contentType);
    return this.page.read({ withTenants });
  }

  /**
   * @returns whether it may see what names tenants
   * @throws Problem unauthorized, ip_not_allowed, rate_limited
   */
  private authenticate(request: FastifyRequest): boolean {
    const { authorization, 'x-api-key': apiKey } = request.headers;
    if (authorization === undefined && apiKey === undefined) {
      if (this.isOpen) return false;
      throw new Problem('unauthorized', `The metrics need a key. ${HOW_TO_SEND}`);
    }
    const sha256 = sha256Of(presentedKey(request.raw));
    const attempt = this.failures.begin(request.ip, sha256);
    if (!attempt.mayBeOperator) throw this.failures.refusedInAll(request.ip);
    const operator = this.operators.find(sha256);
    if (sha256 !== this.tokenHash && !operator) {
      attempt.failed();
      throw new Problem('unauthorized', `This key does not open the metrics. ${HOW_TO_SEND}`);
    }
    attempt.succeeded();
    if (operator) this.operators.requireAddress(operator, request.ip);
    return true;
  }
}

const HOW_TO_SEND = 'Send "Authorization: Bearer " and METRICS_TOKEN, or an operator\'s key.';
