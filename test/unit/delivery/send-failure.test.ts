import { describe, expect, it } from 'vitest';
import { describeFailure } from '../../../src/delivery/send-failure.js';

const scene = { host: 'hooks.example.com', hasBegun: false };

function errorWith(message: string, details: object): Error {
  return Object.assign(new Error(message), details);
}

describe('what an error of the network means', () => {
  it.each([
    ['certificate has expired', 'CERT_HAS_EXPIRED'],
    ['self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT'],
    ['unable to verify the first certificate', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    ['unable to get local issuer certificate', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY'],
    ["Hostname/IP does not match certificate's altnames", 'ERR_TLS_CERT_ALTNAME_INVALID'],
    ['invalid CA certificate', 'INVALID_CA'],
    ['Hostname mismatch', 'HOSTNAME_MISMATCH'],
  ])('%s', (message, code) => {
    expect(describeFailure(errorWith(message, { code }), scene)).toEqual({
      code: 'tls',
      message: `TLS with hooks.example.com: ${message}`,
    });
  });

  it.each([
    ['the reason that OpenSSL names', 'error:0A…', { code: 'ERR_SSL_X', reason: 'unsupported protocol' }],
    [
      'the message of OpenSSL',
      '40:error:0A000410:SSL routines:f:unsupported protocol:../x.c:1:',
      { code: 'EPROTO' },
    ],
  ])('TLS: %s', (_, message, details) => {
    expect(describeFailure(errorWith(message, details), scene).message).toBe(
      'TLS with hooks.example.com: unsupported protocol',
    );
  });

  it.each([
    ['ECONNREFUSED', '10.1.2.3', 'connection_refused', 'connection refused by 10.1.2.3:443'],
    ['ECONNREFUSED', '2001:db8::1', 'connection_refused', 'connection refused by [2001:db8::1]:443'],
    ['EHOSTUNREACH', '10.1.2.3', 'connection_refused', 'no way to 10.1.2.3:443 (EHOSTUNREACH)'],
    ['ETIMEDOUT', '10.1.2.3', 'connect_timeout', 'no connection to 10.1.2.3:443'],
  ])('connect %s %s', (code, address, expectedCode, message) => {
    const error = errorWith('', { code, syscall: 'connect', address, port: 443 });
    expect(describeFailure(error, scene)).toEqual({ code: expectedCode, message });
  });

  it('a connection lost while waiting, by the answer it was in', () => {
    const error = errorWith('', { code: 'ETIMEDOUT', syscall: 'read' });
    expect(describeFailure(error, scene).message).toBe(
      'connection to hooks.example.com lost before it answered',
    );
    expect(describeFailure(error, { ...scene, hasBegun: true })).toEqual({
      code: 'connection_reset',
      message: 'connection to hooks.example.com lost in the middle of the headers of its answer',
    });
  });
});
