import type { Registry } from 'prom-client';

const MAX_AGE_MS = 1_000;
/** Series with this label tell who uses the service, and for what. */
const TENANT_LABEL = 'tenant';

interface Rendered {
  text: string;
  namesTenants: boolean;
}

/**
 * All metrics as text, rendered one at a time and once a second at most: it takes the time of this process and, for what
 * is counted there, of PostgreSQL, and anybody may ask.
 */
export class MetricsPage {
  private rendered: Promise<Rendered[]> = Promise.resolve([]);
  /** On the monotonic clock. */
  private freshUntil = -Infinity;

  constructor(private readonly registry: Registry) {}

  get contentType(): string {
    return this.registry.contentType;
  }

  /** Up to a second old. */
  async read({ withTenants }: { withTenants: boolean }): Promise<string> {
    if (performance.now() >= this.freshUntil) {
      this.freshUntil = Infinity;
      this.rendered = this.render().finally(() => (this.freshUntil = performance.now() + MAX_AGE_MS));
    }
    const shown = (await this.rendered).filter(({ namesTenants }) => withTenants || !namesTenants);
    return `${shown.map(({ text }) => text).join('\n\n')}\n`;
  }

  private render(): Promise<Rendered[]> {
    const rendering = this.registry.getMetricsAsArray().map(async (metric) => ({
      text: await this.registry.getSingleMetricAsString(metric.name),
      namesTenants: labelsOf(metric).includes(TENANT_LABEL),
    }));
    return Promise.all(rendering);
  }
}

/** Every metric has them; the types of prom-client do not say so. */
function labelsOf(metric: object): readonly string[] {
  return (metric as { labelNames: readonly string[] }).labelNames;
}
