/** What clients call fields elsewhere, by the names that they have here; the first one that is known is meant. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  url: ['target_url'],
  uri: ['target_url'],
  endpoint: ['target_url'],
  endpoint_url: ['target_url'],
  callback_url: ['target_url'],
  webhook_url: ['target_url'],
  destination: ['target_url'],
  events: ['event_types'],
  enabled_events: ['event_types'],
  filter_types: ['event_types'],
  topics: ['event_types'],
  topic: ['event_type', 'event', 'event_types'],
  event: ['event_type', 'event_types'],
  type: ['event_type', 'event', 'provider'],
  types: ['event_types'],
  active: ['is_active'],
  enabled: ['is_active'],
  disabled: ['is_active'],
  timeout: ['timeout_ms'],
  timeout_seconds: ['timeout_ms'],
  retries: ['retry_policy'],
  retry: ['retry_policy'],
  max_retries: ['retry_policy'],
  concurrency: ['max_concurrency'],
  throttle: ['rate_limit'],
  signing_secret: ['secret'],
  key: ['secret', 'idempotency_key'],
  data: ['payload'],
  body: ['payload'],
  message: ['payload'],
  payload: ['data'],
  id: ['event_id'],
  uid: ['event_id', 'metadata'],
  label: ['name', 'description'],
  title: ['name', 'description'],
  comment: ['description'],
  tags: ['metadata'],
  page: ['cursor'],
  offset: ['cursor'],
  after: ['cursor', 'from'],
  per_page: ['limit'],
  page_size: ['limit'],
  since: ['from'],
  until: ['to'],
  permissions: ['scopes'],
  scope: ['scopes'],
  expires: ['expires_at'],
  overlap: ['overlap_seconds'],
  grace_period: ['overlap_seconds'],
};

/** What values are called elsewhere, in the same way. */
const VALUE_SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  queued: ['pending'],
  in_progress: ['delivering'],
  success: ['delivered', 'ok'],
  succeeded: ['delivered', 'ok'],
  sent: ['delivered'],
  failed: ['dead'],
  failure: ['dead', 'failed'],
  error: ['dead', 'failed'],
  discarded: ['cancelled'],
  minutely: ['minute'],
  hourly: ['hour'],
  daily: ['day'],
  write: ['events:write'],
  default: ['standard'],
};

/** Longer names are no slip of the pen, and would take long to compare. */
const MAX_LENGTH = 32;

/**
 * The known name that was probably meant: a synonym of it, the same in another case or spelling (`targetUrl`), or one
 * that differs in a third of its letters at the most. Null: none.
 */
export const nearestName = (given: string, known: readonly string[]): string | null =>
  nearest(given, known, SYNONYMS);

/** The value that was probably meant, as {@link nearestName} finds names. */
export const nearestValue = (given: string, known: readonly string[]): string | null =>
  nearest(given, known, VALUE_SYNONYMS);

function nearest(given: string, known: readonly string[], synonyms: typeof SYNONYMS): string | null {
  if (given.length > MAX_LENGTH) return null;
  const name = snakeCase(given);
  const same = known.find((candidate) => snakeCase(candidate) === name);
  if (same !== undefined) return same;
  const candidates = Object.hasOwn(synonyms, name) ? synonyms[name] : undefined;
  const synonym = candidates?.find((candidate) => known.includes(candidate));
  return synonym ?? closest(name, known);
}

function closest(name: string, known: readonly string[]): string | null {
  let found: string | null = null;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    if (candidate.length > MAX_LENGTH) continue;
    // So many letters have to be added or left out at least.
    if (Math.abs(name.length - candidate.length) >= least) continue;
    const distance = editDistance(name, candidate);
    if (distance < least) [found, least] = [candidate, distance];
  }
  return found;
}

/** What is said of a field that is not known: which one was probably meant, and which there are. */
export function notKnown(name: string, known: readonly string[]): string {
  const meant = nearestName(name, known);
  const question = meant === null ? '' : `; did you mean ${meant}?`;
  return `is not a known field${question}${question === '' ? ';' : ''} known are ${known.join(', ')}`;
}

/** What is said of a value that is none of those there are. A long list may be cut, and the question comes before. */
export function notOneOf(given: unknown, choices: readonly string[], rule = oneOfRule(choices)): string {
  const meant = typeof given === 'string' ? nearestValue(given, choices) : null;
  return meant === null ? rule : `did you mean ${meant}? It ${rule}`;
}

const oneOfRule = (choices: readonly string[]): string => `must be one of ${choices.join(', ')}`;

const snakeCase = (name: string): string =>
  name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/[\s-]+/g, '_')
    .toLowerCase();

/** Of {@link editDistance}: one for all, since a body of unknown names has thousands of pairs to compare. */
const row = new Uint8Array(MAX_LENGTH + 1);

/** How many letters have to be added, left out or replaced (Levenshtein). */
function editDistance(one: string, other: string): number {
  for (let j = 0; j <= other.length; j++) row[j] = j;
  for (let i = 1; i <= one.length; i++) {
    const letter = one.charCodeAt(i - 1);
    let diagonal = i - 1;
    row[0] = i;
    for (let j = 1; j <= other.length; j++) {
      const above = row[j] as number;
      const replaced = letter === other.charCodeAt(j - 1) ? diagonal : diagonal + 1;
      row[j] = Math.min(replaced, above + 1, (row[j - 1] as number) + 1);
      diagonal = above;
    }
  }
  return row[other.length] as number;
}
