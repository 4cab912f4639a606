/** Of every service that the tests start with a database of theirs. */
export const ENCRYPTION_KEY = Buffer.alloc(32, 'an encryption key of the tests, ').toString('base64');
