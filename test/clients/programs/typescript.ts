// With the types of openapi-typescript, and openapi-fetch, which uses them.
import createClient from 'openapi-fetch';
import type { paths } from './api.js';

const client = createClient<paths>({
  baseUrl: process.env['POSTHORN_URL']!,
  headers: { authorization: `Bearer ${process.env['POSTHORN_KEY']!}` },
});

const created = await client.POST('/api/v1/subscriptions', {
  body: {
    target_url: process.env['TARGET_URL']!,
    is_active: false,
    retry_policy: { schedule: [1, 2] },
  },
});
if (!created.data) throw new Error(created.error.detail);
const { id } = created.data;

const updated = await client.PATCH('/api/v1/subscriptions/{id}', {
  params: { path: { id } },
  body: { description: 'typescript' },
});
if (!updated.data) throw new Error(updated.error.detail);

const sent = await client.POST('/api/v1/events', {
  body: { event_type: 'order.paid', payload: { order: 42 } },
});
if (!sent.data) throw new Error(sent.error.detail);

const missing = await client.GET('/api/v1/events/{id}/status', { params: { path: { id } } });
console.log(
  JSON.stringify({
    subscription: id,
    event: sent.data.id,
    status: sent.data.status,
    problem: missing.error?.code,
  }),
);
