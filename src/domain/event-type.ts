const EVENT_TYPE = /^[A-Za-z0-9][A-Za-z0-9._:/_-]{0,255}$/;
const EVENT_TYPE_PATTERN = /^[A-Za-z0-9*][A-Za-z0-9._:/_*-]{0,255}$/;

/**
 * Who wants which event types, taken apart once so that an event costs as little as possible: subscribers of a plain
 * type are looked up, and each pattern with a `*` is compared once, however many subscriptions have it.
 */
export class EventTypeIndex<Subscriber> {
  private readonly ofAll: Subscriber[] = [];
  private readonly ofType = new Map<string, Subscriber[]>();
  /** By pattern. */
  private readonly ofPattern = new Map<string, { parts: readonly string[]; subscribers: Subscriber[] }>();

  /** @param patterns an empty list stands for every type */
  add(subscriber: Subscriber, patterns: readonly string[]): void {
    if (patterns.length === 0) this.ofAll.push(subscriber);
    for (const pattern of new Set(patterns)) {
      if (pattern.includes('*')) this.entryOf(pattern).subscribers.push(subscriber);
      else this.subscribersOf(pattern).push(subscriber);
    }
  }

  /**
   * Those that want events of this type, each once. `*` stands for one or more characters of any kind, everything else
   * for itself: `user.*` matches `user.created` and `user.profile.updated`, but neither `user` nor `user.`.
   */
  matching(eventType: string): Subscriber[] {
    const found = new Set([...this.ofAll, ...(this.ofType.get(eventType) ?? [])]);
    for (const { parts, subscribers } of this.ofPattern.values()) {
      if (matchesParts(parts, eventType)) for (const subscriber of subscribers) found.add(subscriber);
    }
    return [...found];
  }

  private subscribersOf(eventType: string): Subscriber[] {
    let subscribers = this.ofType.get(eventType);
    if (!subscribers) this.ofType.set(eventType, (subscribers = []));
    return subscribers;
  }

  private entryOf(pattern: string) {
    let entry = this.ofPattern.get(pattern);
    if (!entry) this.ofPattern.set(pattern, (entry = { parts: pattern.split('*'), subscribers: [] }));
    return entry;
  }
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
 * @param parts of a pattern, between its `*`: `a.*.b` is `['a.', '.b']`
 */
function matchesParts(parts: readonly string[], eventType: string): boolean {
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
