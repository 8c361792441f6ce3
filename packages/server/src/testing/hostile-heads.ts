import fc from 'fast-check';

const parameterNames = [
  'limit',
  'skipToken',
  'labels',
  'since',
  'kinds',
  'resource',
  'after',
  'head',
  'from',
  'to',
  'seconds',
  'write',
  'scrollback',
  '__proto__',
];
const parameterValues = [
  '',
  '0',
  '1',
  '-1',
  '1e9',
  '99999',
  '9'.repeat(30),
  'NaN',
  'null',
  'a=b',
  'a=b,c!=d',
  '*=*',
  'a>=1',
  '2026-01-01',
  '0000-00-00',
].concat(
  [
    '275760-09-13',
    '-271821-04-20',
    '9999-12-31T23:59:59Z',
    '1.1',
    '1.0',
    'now',
    'instance',
    '%00',
    '%zz',
    '%ed%a0%80',
    '%F0%9F%98%80',
    '%2B',
    '+',
    '[]',
    '{}',
  ],
  ['WzEsIiIsIiJd', 'bnVsbA', 'e30', 'x'.repeat(3000), '1:00', `1:${'0'.repeat(64)}`, 'free', '%27%22', '1%2C1', '%E2%80%AE'],
);
/** Tokens of pages that never were. */
const forged = fc
  .tuple(
    fc.constantFrom(0, 1, '1', null),
    fc.constantFrom('', 'image acme', 'audit acme  ', 'region', 'usage acme   '),
    fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('a b c', '1.1.1', '\0 a b', 'a'.repeat(99))),
  )
  .map((fields) => `skipToken=${Buffer.from(JSON.stringify(fields)).toString('base64url')}`);

/** What may follow a path. */
export const hostileQueries: fc.Arbitrary<string> = fc.oneof(
  { weight: 5, arbitrary: fc.constant('') },
  {
    weight: 3,
    arbitrary: fc
      .array(
        fc.oneof(
          fc.tuple(fc.constantFrom(...parameterNames), fc.constantFrom(...parameterValues)).map((pair) => pair.join('=')),
          forged,
        ),
        { minLength: 1, maxLength: 3 },
      )
      .map((pairs) => `?${pairs.join('&')}`),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom('?', '?&', '?=', '?a', '??', '?limit=1&limit=2', '?a[b]=c', '#x', '?labels=a%3Db%2Cc', '?__proto__[x]=1'),
  },
);

export const hostileHeaders: fc.Arbitrary<Record<string, string | string[]>> = fc.oneof(
  { weight: 6, arbitrary: fc.constant({}) },
  {
    weight: 4,
    arbitrary: fc
      .uniqueArray(
        fc.constantFrom<[string, string | string[]]>(
          ['content-type', 'text/plain'],
          ['content-type', 'application/json; charset=utf-16'],
          ['content-type', 'application/json;;;'],
          ['content-type', 'application/offset+octet-stream'],
          ['content-type', 'multipart/form-data; boundary=x'],
          ['content-type', '\u00ff/\u00ff'],
          ['content-type', ''],
          ['content-encoding', 'gzip'],
          ['accept', 'application/json; deleted=only'],
          ['accept', 'application/json; deleted=maybe'],
          ['accept', 'text/csv'],
          ['accept', ','.repeat(500)],
          ['if-unmodified-since', '0'],
          ['if-unmodified-since', '-1'],
          ['if-unmodified-since', '999999999999999'],
          ['if-unmodified-since', 'Sat, 28 Nov 2026 00:00:00 GMT'],
          ['if-match', '*'],
          ['last-event-id', '9223372036854775807.9223372036854775807'],
          ['last-event-id', '9'.repeat(40)],
          ['last-event-id', '\u00e9'],
          ['upload-offset', '0'],
          ['upload-offset', '-1'],
          ['host', 'evil.example:99999'],
          ['host', '\u00ff'],
          ['origin', 'null'],
          ['x-forwarded-for', '\u00ff, 127.0.0.1'],
          ['x-request-id', 'mine'],
          ['x-http-method-override', 'DELETE'],
          ['authorization', 'Bearer'],
          ['authorization', `Bearer ${'x'.repeat(9000)}`],
          ['authorization', 'Basic Og=='],
          ['authorization', 'Bearer e30.e30.e30'],
          ['cookie', 'a=b'],
          ['expect', '100-continue'],
          ['expect', 'a miracle'],
          ['range', 'bytes=0-0'],
          ['te', 'trailers'],
          ['upgrade', 'h2c'],
          ['transfer-encoding', 'chunked'],
        ),
        { minLength: 1, maxLength: 3, selector: ([name]) => name },
      )
      .map((pairs) => Object.fromEntries(pairs)),
  },
);
