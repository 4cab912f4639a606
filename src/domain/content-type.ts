/** RFC 9110, section 5.6.2. */
const TOKEN = "[\\w!#$%&'*+.^`|~-]+";
/** RFC 8259, section 11, and every type with the suffix of RFC 6839, section 3.1. */
const JSON_TYPE = new RegExp(`^\\s*(?:application/json|${TOKEN}/${TOKEN}\\+json)\\s*(?:;|$)`, 'i');
const CHARSET = new RegExp(`;\\s*charset=("?)(${TOKEN})\\1\\s*(?:;|$)`, 'i');
/** UTF-8 by the names that clients give it, and the charset that is a part of it. */
const READ_AS_UTF8 = /^(?:utf-?8|us-ascii|ascii)$/i;

/** Whether a Content-Type says that the body is JSON, whatever its parameters and its case. */
export const isJsonType = (contentType: string): boolean => JSON_TYPE.test(contentType);

/** The charset that a Content-Type names, if JSON cannot be read in it: JSON is UTF-8 (RFC 8259, section 8.1). */
export function foreignCharset(contentType: string): string | null {
  const charset = CHARSET.exec(contentType)?.[2];
  return charset === undefined || READ_AS_UTF8.test(charset) ? null : charset;
}
