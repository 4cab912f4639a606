import type { FastifyInstance } from 'fastify';
import { Problem } from '../domain/errors.js';

/** Said in the place of a path that a client asked for, which may be 16 KiB long. */
const MAX_SHOWN_PATH = 200;

/** The methods of each path, as routes are added from now on: what a request that no route matches is told by. */
export class KnownPaths {
  private readonly patterns = new Map<string, { matches: RegExp; methods: Set<string> }>();

  watch(server: FastifyInstance): void {
    server.addHook('onRoute', ({ url, method }) => {
      const known = this.patterns.get(url) ?? { matches: patternOf(url), methods: new Set(['OPTIONS']) };
      for (const name of [method].flat()) known.methods.add(name);
      this.patterns.set(url, known);
    });
  }

  /** The methods that a path has, for Allow (RFC 9110, section 10.2.1); none where there is no such path. */
  methodsAt(url: string): string[] {
    const [path = ''] = url.split('?', 1);
    const found = [...this.patterns.values()].filter(({ matches }) => matches.test(path));
    return [...new Set(found.flatMap(({ methods }) => [...methods]))].sort();
  }
}

/** Why no route takes a request. */
export function noRoute(method: string, url: string, allowed: readonly string[]): Problem {
  const path = url.length > MAX_SHOWN_PATH ? `${url.slice(0, MAX_SHOWN_PATH)}…` : url;
  if (allowed.length === 0) return new Problem('not_found', `There is no route ${method} ${path}.`);
  return new Problem('method_not_allowed', `${path} has no ${method}; it has ${allowed.join(', ')}.`);
}

/** A path of Fastify: `:name` is a part between two slashes, `*` any end. A slash at the end means nothing. */
function patternOf(url: string): RegExp {
  const path = url
    .replace(/\/$/, '')
    .replace(/[.+?^${}()|[\]\\]/g, '\\$&')
    .replace(/:\w+/g, '[^/]+')
    .replace('*', '.*');
  return new RegExp(`^${path}/?$`);
}
