const EVENT_TYPE = /^[A-Za-z0-9][A-Za-z0-9._:/_-]{0,255}$/;
const EVENT_TYPE_PATTERN = /^[A-Za-z0-9*][A-Za-z0-9._:/_*-]{0,255}$/;
const MAX_CACHED_PATTERNS = 10_000;

/** The literal parts of a pattern by the pattern: `a.*.b` is `['a.', '.b']`. */
const compiledPatterns = new Map<string, readonly string[]>();

/**
 * Whether one of the patterns stands for the event type. An empty list stands for every type. `*` stands for one or
 * more characters of any kind, everything else for itself: `user.*` matches `user.created` and
 * `user.profile.updated`, but neither `user` nor `user.`.
 */
export function matchesEventType(patterns: readonly string[], eventType: string): boolean {
  if (patterns.length === 0) return true;
  for (const pattern of patterns) {
    if (pattern === eventType || (pattern.includes('*') && matchesWildcard(pattern, eventType))) return true;
  }
  return false;
}

/** Whether it can name an event: 1 to 256 letters, digits and `. _ : / -`, the first a letter or digit. */
export function isEventType(s: unknown): s is string {
  return typeof s === 'string' && EVENT_TYPE.test(s);
}

/** Whether a subscription can ask for it: an event type in which `*` may stand anywhere. */
export function isEventTypePattern(s: unknown): s is string {
  return typeof s === 'string' && EVENT_TYPE_PATTERN.test(s);
}

/**
 * Takes each literal part at its leftmost place, which never rules out a match that another place would allow, so
 * nothing is tried twice: a RegExp of several `.+` would backtrack exponentially on a hostile pattern.
 */
function matchesWildcard(pattern: string, eventType: string): boolean {
  const parts = literalParts(pattern);
  const first = parts[0] ?? '';
  const last = parts.at(-1) ?? '';
  if (!eventType.startsWith(first) || !eventType.endsWith(last)) return false;
  let position = first.length;
  for (let part = 1; part < parts.length - 1; part++) {
    const literal = parts[part] ?? '';
    const found = eventType.indexOf(literal, position + 1);
    if (found === -1) return false;
    position = found + literal.length;
  }
  return eventType.length - last.length > position;
}

function literalParts(pattern: string): readonly string[] {
  let parts = compiledPatterns.get(pattern);
  if (parts === undefined) {
    parts = pattern.split('*');
    if (compiledPatterns.size >= MAX_CACHED_PATTERNS) compiledPatterns.clear();
    compiledPatterns.set(pattern, parts);
  }
  return parts;
}
