import fastify, { type RouteOptions } from 'fastify';
import { pino } from 'pino';
import { beforeEach, describe, expect, it } from 'vitest';
import { auditRoutes } from '../../../src/http/audit-trail.js';
import type { AuditRepository } from '../../../src/persistence/repositories/audit.repository.js';

const handler = () => 'done';

let server: ReturnType<typeof fastify>;
let added: RouteOptions[];

beforeEach(() => {
  server = fastify();
  // Nothing is written while routes are added.
  auditRoutes(server, {} as AuditRepository, pino({ level: 'silent' }));
  added = [];
  server.addHook('onRoute', (route: RouteOptions) => void added.push(route));
});

const hooksOf = ({ preHandler, preSerialization, onSend }: RouteOptions) =>
  [preHandler, preSerialization, onSend].map((hooks) => [hooks ?? []].flat().length);

describe.each(['POST', 'PUT', 'PATCH', 'DELETE'])('a route for %s', (method) => {
  it('cannot be added without a word on the audit log', () => {
    expect(() => server.route({ method, url: '/things/:id', handler })).toThrow(
      `${method} /things/:id does not say what it leaves in the audit log: give it @Audited(action) or ` +
        '@NotAudited(reason)',
    );
  });

  it('has hooks when it is audited', () => {
    server.route({ method, url: '/things', handler, config: { audit: { action: 'tenant.change' } } });
    expect(added.map(hooksOf)).toEqual([[1, 1, 1]]);
  });

  it('has none when it is not', () => {
    server.route({ method, url: '/things', handler, config: { audit: { noneBecause: 'it is a test' } } });
    expect(added.map(hooksOf)).toEqual([[0, 0, 0]]);
  });
});

it('takes routes that only look as they are', () => {
  server.get('/things', handler);
  server.options('/things', handler);
  expect(added.map(({ method }) => method)).toEqual(['GET', 'HEAD', 'OPTIONS']);
});

it('does not take a route for several methods for one that looks', () => {
  expect(() => server.route({ method: ['GET', 'DELETE'], url: '/things', handler })).toThrow(
    /^DELETE \/things/,
  );
});
