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

/** Longer names are no slip of the pen, and would take long to compare. */
const MAX_LENGTH = 32;

/**
 * The known name that was probably meant: a synonym of it, the same in another case or spelling (`targetUrl`), or one
 * that differs in a third of its letters at the most. Null: none.
 */
export function nearestName(given: string, known: readonly string[]): string | null {
  if (given.length > MAX_LENGTH) return null;
  const name = snakeCase(given);
  const synonym = (Object.hasOwn(SYNONYMS, name) ? SYNONYMS[name] : undefined)?.find((candidate) =>
    known.includes(candidate),
  );
  if (known.includes(name)) return name;
  if (synonym !== undefined) return synonym;
  let nearest: string | null = null;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    if (candidate.length > MAX_LENGTH) continue;
    // So many letters have to be added or left out at least.
    if (Math.abs(name.length - candidate.length) >= least) continue;
    const distance = editDistance(name, candidate);
    if (distance < least) [nearest, least] = [candidate, distance];
  }
  return nearest;
}

/** What is said of a field that is not known: which one was probably meant, and which there are. */
export function notKnown(name: string, known: readonly string[]): string {
  const meant = nearestName(name, known);
  const question = meant === null ? '' : `; did you mean ${meant}?`;
  return `is not a known field${question}${question === '' ? ';' : ''} known are ${known.join(', ')}`;
}

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
