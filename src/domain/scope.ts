/** What an API key may be for. `admin` is all of them, and the tenant's own administration. */
export const SCOPES = ['events:write', 'subscriptions:write', 'read', 'admin'] as const;

export type Scope = (typeof SCOPES)[number];

/** Whether a key with these scopes may do what needs that one. */
export function allows(scopes: ReadonlySet<Scope>, needed: Scope): boolean {
  return scopes.has(needed) || scopes.has('admin');
}
