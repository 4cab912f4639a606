import type { FieldError } from '../errors.js';
import { nearestName, notOneOf } from '../nearest-name.js';
import type { ProviderName } from './provider-names.js';

const ALGORITHMS = ['sha256', 'sha1', 'sha512'] as const;
const ENCODINGS = ['hex', 'base64'] as const;
const SIGNED_CONTENTS = ['body', 'timestamp.body'] as const;

/** What a provider leaves to be said, in the words of the API; settingsErrors knows who has which of them. */
export interface SourceSettings {
  algorithm?: (typeof ALGORITHMS)[number];
  header?: string;
  encoding?: (typeof ENCODINGS)[number];
  prefix?: string;
  signed?: (typeof SIGNED_CONTENTS)[number];
  timestamp_header?: string;
  tolerance_seconds?: number;
  username?: string;
  url?: string;
  event_type_prefix?: string;
  event_type_header?: string;
  event_type_field?: string;
  delivery_id_header?: string;
  delivery_id_field?: string;
}

/** What would be right for a member; null when the value is. */
type Rule = (value: unknown) => string | null;
type Rules = Readonly<Partial<Record<keyof SourceSettings, Rule>>>;

/** A field name is a token: RFC 9110 sections 5.1 and 5.6.2. */
const headerName = matching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/, 'must be the name of a header');
/** Each level is read through again, so there are few. */
const fieldPath = matching(
  /^(?=.{1,200}$)[^.\p{Cc}\p{Cs}]+(?:\.[^.\p{Cc}\p{Cs}]+){0,7}$/u,
  'must be 1 to 8 names with dots between, at most 200 characters, such as data.type',
);
const toleranceSeconds: Rule = (value) =>
  Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 86_400
    ? null
    : 'must be a whole number from 1 to 86400 seconds';

const TOLERANCE: Rules = { tolerance_seconds: toleranceSeconds };
const NAMING: Rules = {
  event_type_header: headerName,
  event_type_field: fieldPath,
  delivery_id_header: headerName,
  delivery_id_field: fieldPath,
};
const PREFIX: Rules = {
  event_type_prefix: matching(
    /^[A-Za-z0-9](?:[A-Za-z0-9._:/-]{0,98}[A-Za-z0-9])?$/,
    'must be 1 to 100 letters, digits and . _ : / - that begin and end with a letter or digit; a dot follows it',
  ),
};

const SETTINGS: Readonly<Record<ProviderName, Rules>> = {
  github: {},
  gitlab: {},
  stripe: TOLERANCE,
  shopify: {},
  slack: TOLERANCE,
  twilio: { url: webUrl, ...NAMING },
  'standard-webhooks': { ...TOLERANCE, ...PREFIX },
  svix: { ...TOLERANCE, ...PREFIX },
  hmac: {
    algorithm: oneOf(ALGORITHMS),
    header: headerName,
    encoding: oneOf(ENCODINGS),
    prefix: matching(/^[\x21-\x7e]{0,64}$/, 'must be at most 64 printable ASCII characters without spaces'),
    signed: oneOf(SIGNED_CONTENTS),
    timestamp_header: headerName,
    ...TOLERANCE,
    ...NAMING,
    ...PREFIX,
  },
  bearer: { header: headerName, ...NAMING, ...PREFIX },
  basic: {
    // RFC 7617 section 2: the first colon ends it.
    username: matching(/^[\x20-\x39\x3b-\x7e]{1,200}$/, 'must be 1 to 200 printable ASCII characters but :'),
    ...NAMING,
    ...PREFIX,
  },
  posthorn: { signed: oneOf(SIGNED_CONTENTS), ...TOLERANCE },
};

/**
 * What is wrong with the settings of a source, member by member: the path is `settings.<member>`.
 * @param publicUrl PUBLIC_URL, if it is set: Twilio signs the address, so one of the two has to be known
 */
export function settingsErrors(
  provider: ProviderName,
  settings: Readonly<Record<string, unknown>>,
  publicUrl: string | null,
): FieldError[] {
  const rules = new Map<string, Rule>(Object.entries(SETTINGS[provider]));
  const errors = Object.entries(settings).flatMap(([name, value]) => {
    const rule = rules.get(name);
    const message = rule ? rule(value) : noSetting(provider, name, [...rules.keys()]);
    return message === null ? [] : [{ path: `settings.${name.slice(0, 64)}`, message }];
  });
  return [...errors, ...missingErrors(provider, settings, publicUrl)];
}

/** What is needed because of the provider, or of another member. */
function missingErrors(
  provider: ProviderName,
  settings: Readonly<Record<string, unknown>>,
  publicUrl: string | null,
): FieldError[] {
  const need = (name: keyof SourceSettings, message: string): FieldError[] =>
    settings[name] === undefined ? [{ path: `settings.${name}`, message }] : [];
  if (provider === 'basic') return need('username', 'must be given: Basic authentication has one');
  if (provider === 'twilio' && publicUrl === null) {
    return need('url', 'must be the URL that Twilio was given: it signs it, and PUBLIC_URL is not set here');
  }
  if (provider !== 'hmac') return [];
  if (settings['signed'] === 'timestamp.body') {
    return need('timestamp_header', 'must be given: the time that it holds is signed as well');
  }
  if (settings['timestamp_header'] !== undefined) {
    const message = 'must be timestamp.body: a time that is not signed can be changed in a copy of a request';
    return [{ path: 'settings.signed', message }];
  }
  if (settings['tolerance_seconds'] !== undefined) {
    return need('timestamp_header', 'must be given: without it there is no time to tolerate');
  }
  return [];
}

function noSetting(provider: ProviderName, name: string, known: string[]): string {
  const meant = nearestName(name, known);
  const question = meant === null ? '' : `; did you mean ${meant}?`;
  return `is no setting of ${provider}: it has ${known.join(', ') || 'none'}${question}`;
}

function matching(pattern: RegExp, message: string): Rule {
  return (value) => (typeof value === 'string' && pattern.test(value) ? null : message);
}

function oneOf(choices: readonly string[]): Rule {
  return (value) => ((choices as readonly unknown[]).includes(value) ? null : notOneOf(value, choices));
}

function webUrl(value: unknown): string | null {
  const isUrl =
    typeof value === 'string' && /^https?:\/\/[\x21-\x7e]{1,2040}$/.test(value) && URL.canParse(value);
  // With a hash of its own, each request would say itself which body the signature vouches for.
  return isUrl && !/#|[?&]bodySHA256=/.test(value)
    ? null
    : 'must be the http or https URL that Twilio was given, without bodySHA256, at most 2048 characters';
}
