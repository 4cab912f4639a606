/** What Posthorn does by itself, without a request. */
const SERVICE_ACTIONS = [
  // Its subscriber answered 410 Gone.
  'subscription.disable',
  // The tenant is gone, and everything that it owned.
  'tenant.remove',
] as const;

/** What the audit log knows, each as `what.done`. */
export const AUDIT_ACTIONS = [
  'subscription.create',
  'subscription.replace',
  'subscription.change',
  'subscription.delete',
  'subscription.read_secret',
  'subscription.rotate_secret',
  'subscription.verify',
  'subscription.test',
  'source.create',
  'source.change',
  'source.delete',
  'source.rotate_secret',
  'delivery.retry',
  'delivery.cancel',
  'dead_letter.retry',
  'dead_letter.discard',
  // All that match a filter.
  'dead_letters.retry',
  'dead_letters.discard',
  'api_key.create',
  'api_key.rotate',
  'api_key.revoke',
  'tenant.create',
  'tenant.change',
  'tenant.delete',
  ...SERVICE_ACTIONS,
] as const;

export type ServiceAction = (typeof SERVICE_ACTIONS)[number];

export type AuditAction = (typeof AUDIT_ACTIONS)[number];

type Singular<Noun> = Noun extends `${infer One}s` ? One : Noun;

/** The kind of object that an action is about. */
export type AuditObjectType = AuditAction extends infer Action
  ? Action extends `${infer Noun}.${string}`
    ? Singular<Noun>
    : never
  : never;

export const AUDIT_OBJECT_TYPES = [...new Set(AUDIT_ACTIONS.map(objectTypeOf))];

export function objectTypeOf(action: AuditAction): AuditObjectType {
  return action.replace(/s?\..*$/, '') as AuditObjectType;
}

/** Whether there is no such object before the action. */
export const isCreation = (action: AuditAction): boolean => action.endsWith('.create');
