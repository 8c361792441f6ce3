import { request as ask } from 'node:http';
import { type Kind, kinds } from '@virt8ra/contract';
import fc from 'fast-check';
import { collectionRoute } from '../http/request-address.js';
import { hostileHeaders, hostileQueries } from './hostile-heads.js';
import { arbitraryOfShape } from './shape-arbitrary.js';

export interface Route {
  readonly method: string;
  readonly path: string;
}

export interface HostileRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly body: Buffer | undefined;
}

export interface HostileAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: string;
}

/** Stands in a body or a path for a name that is one time there and one time not. */
export const placeholder = 'n4m3d';

export interface HostileOptions {
  /** What paths call their parts. */
  readonly names: Readonly<Record<string, string>>;
  /** What bodies refer to. */
  readonly references: readonly string[];
  /** How often, of 10, something in the path is another name than those. Default 3. */
  readonly oddPaths?: number;
}

/** Requests to one route: as they should be, then with something wrong at any place. Every kind's bodies follow from its shape. */
export function hostileRequests({ method, path }: Route, options: HostileOptions): fc.Arbitrary<HostileRequest> {
  return fc
    .record({ path: paths(path, options), query: hostileQueries, headers: hostileHeaders, body: bodies(method, path, options.references) })
    .map(({ path: at, query, headers: more, body }) => ({
      method,
      path: `${at}${query}`,
      headers: { ...(body === undefined ? {} : { 'content-type': contentTypeOf(path, method) }), ...more },
      body,
    }));
}

/** One connection for each request: what one breaks is not laid on the next. Raises what breaks, and after 20 s without an answer. */
export async function send(
  url: string,
  { method, path, headers: given, body }: HostileRequest,
  token: string | undefined,
): Promise<HostileAnswer> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const length = body === undefined || given['transfer-encoding'] !== undefined ? {} : { 'content-length': String(body.length) };
    const sent = { ...authorization, ...length, ...given } as Record<string, string | string[]>;
    const call = ask({ host: hostname, port, method, path, headers: sent, agent: false, timeout: 20_000 }, (message) => {
      const pieces: Buffer[] = [];
      message.on('data', (piece: Buffer) => void pieces.push(piece));
      message.once('error', reject);
      // A stream of events has no end of its own.
      const settle = (): void =>
        resolve({ status: message.statusCode ?? 0, headers: message.headers, body: Buffer.concat(pieces).toString('utf8') });
      if (method !== 'HEAD' && message.headers['content-type']?.startsWith('text/event-stream') === true) {
        message.once('data', () => {
          message.removeAllListeners('error').on('error', () => undefined);
          call.destroy();
          settle();
        });
      } else message.once('end', settle);
    });
    call.once('timeout', () => call.destroy(new Error('no answer within 20 s')));
    call.on('error', reject);
    call.end(body);
  });
}

const oddSegments = [
  '',
  '.',
  '..',
  '%2e%2e',
  '..%2f..%2fetc',
  '%00',
  'a%00b',
  '%zz',
  '%',
  '%c0%af',
  '%ed%a0%80',
  '%F0%9F%98%80',
  '%E2%80%AEx',
  'e%CC%81',
].concat(
  [
    '*',
    '-',
    '__proto__',
    'constructor',
    'a'.repeat(129),
    'a'.repeat(5000),
    'X',
    'x;y=1',
    'x%3Fy',
    'x%23',
    '%20',
    "';--",
    'stays/',
    'stays%2Fprogress',
    '0',
    'true',
  ],
  [
    'seca.workspace%2Fv1%2Ftenants%2Fother%2Fworkspaces%2Fprod',
    'null',
    '%5Cx',
    '[x]',
    '{x}',
    '|',
    '%0d%0aa:b',
    'x.y',
    '-x',
    'x-',
    'xn--80ak6aa92e',
  ],
);

function paths(path: string, { names, oddPaths = 3 }: HostileOptions): fc.Arbitrary<string> {
  const parts = path.split('/').map((segment): fc.Arbitrary<string> => {
    if (!segment.startsWith(':')) return fc.constant(segment);
    const usual = fc.constant(names[segment.slice(1)] ?? 'stays');
    if (oddPaths === 0) return usual;
    const odd = fc.oneof(
      fc.constantFrom(...oddSegments),
      fc.string({ unit: 'binary', maxLength: 12 }).map(wellFormed).map(encodeURIComponent),
    );
    return fc.oneof({ weight: 10 - oddPaths, arbitrary: usual }, { weight: oddPaths, arbitrary: odd });
  });
  return fc.tuple(...parts).map((segments) => segments.join('/'));
}

const wellFormed = (text: string): string => text.replaceAll(/\p{Surrogate}/gu, '');

function contentTypeOf(path: string, method: string): string {
  return method === 'PATCH' && path.endsWith('/content') ? 'application/offset+octet-stream' : 'application/json';
}

/** What a route takes; undefined: nothing that we know of. */
function shapeOf(method: string, path: string): { readonly kind: Kind; readonly shape: unknown } | undefined {
  for (const kind of kinds) {
    const item = `${collectionRoute(kind)}/:name`;
    if (method === 'PUT' && path === item) return { kind, shape: kind.spec };
    const action = kind.actions.find((each) => method === 'POST' && path === `${item}/${each}`);
    if (action !== undefined) return { kind, shape: kind.actionBodies[action] ?? {} };
  }
  return undefined;
}

const extensionNames = [
  'virt8ra.access',
  'virt8ra.site',
  'virt8ra.backup',
  'virt8ra.restart',
  'virt8ra.power',
  'virt8ra.stop-seconds',
  'virt8ra.x',
  'x',
];
const extensionValues = [
  '',
  '22',
  '22,22',
  '0',
  '-1',
  '65536',
  '22,',
  'gdansk',
  'nowhere',
  'stays',
  'there/stays',
  '../x',
  'on',
  'off',
  'always',
  '1e3',
  '\u202ex',
  '\ud800',
];
const maps = fc.dictionary(
  fc.oneof(fc.constantFrom(...extensionNames), fc.string({ unit: 'binary', maxLength: 8 })),
  fc.constantFrom(...extensionValues),
  { maxKeys: 2 },
);

/** Of texts, the one that shapes and databases like least. */
const oddValues: readonly unknown[] = [
  null,
  true,
  false,
  0,
  -1,
  1.5,
  1e308,
  -1e308,
  2 ** 53,
  -(2 ** 63),
  5e-324,
  '',
  ' ',
  [],
  {},
  [[]],
  [null],
  '\0',
  '\ud800',
  '\udfff',
  '\u202e',
  'e\u0301',
  '\ufeff',
].concat(
  [
    '__proto__',
    'constructor',
    'null',
    '../../etc/passwd',
    "'; drop table resource; --",
    '%',
    '\\',
    '*',
    '1'.repeat(400),
    '\u{1f600}'.repeat(300),
    'x'.repeat(70_000),
  ] as unknown[],
  [
    { constructor: { prototype: { operator: true } } },
    { toString: 1, valueOf: 2, hasOwnProperty: 3 },
    Object.fromEntries([['then', 'x']]),
    { length: 1e9 },
    { '': {} },
    Array.from({ length: 2000 }, () => 0),
  ] as unknown[],
);

type Change = { readonly at: number; readonly how: 'replace' | 'remove' | 'add' | 'wrap'; readonly value: unknown };
const changes: fc.Arbitrary<readonly Change[]> = fc.oneof(
  { weight: 4, arbitrary: fc.constant([]) },
  {
    weight: 6,
    arbitrary: fc.array(
      fc.record({
        at: fc.nat(1000),
        how: fc.constantFrom('replace' as const, 'replace' as const, 'remove' as const, 'add' as const, 'wrap' as const),
        value: fc.oneof(fc.constantFrom(...oddValues), fc.jsonValue()),
      }),
      { minLength: 1, maxLength: 2 },
    ),
  },
);

/** What JSON.stringify would never write. */
const textFaults: readonly ((text: string) => Buffer)[] = [
  (text) => Buffer.from(text.slice(0, Math.floor(text.length / 2))),
  (text) => Buffer.from(`${text}${text}`),
  (text) => Buffer.from(`\ufeff${text}`),
  (text) => Buffer.from(text, 'utf16le'),
  (text) => Buffer.concat([Buffer.from(text), Buffer.from([0xff, 0xc0, 0x80])]),
  (text) => Buffer.from(text.replace('{', '{"spec":null,')),
  (text) => Buffer.from(text.replace(/}$/, ',"spec":[],"spec":{}}')),
  (text) => Buffer.from(text.replace('{', '{"__proto__":{"operator":true},')),
  (text) => Buffer.from(text.replace('"spec":{', '"spec":{"__proto__":{"sizeGB":1},')),
  (text) => Buffer.from(text.replace(/\d+/, '1e400')),
  (text) => Buffer.from(text.replace(/\d+/, '123456789012345678901234567890')),
  (text) => Buffer.from(text.replace(/\d+/, '-0')),
  (text) => Buffer.from(text.replace(/\d+/, '0x10')),
  (text) => Buffer.from(text.replace(/"spec":/, `"spec":${'['.repeat(5000)}`)),
  (text) => Buffer.from(`{"spec":${'{"a":'.repeat(100)}1${'}'.repeat(100)}}`.concat(text.slice(0, 0))),
  (text) => Buffer.from(text.replaceAll('"', "'")),
  (text) => Buffer.from(text.replace('{', '{"a\\u0000":1,')),
  (text) => Buffer.from(text.replace('{', '{"\\ud800":1,')),
  () => Buffer.from(''),
  () => Buffer.from('null'),
  () => Buffer.from('[]'),
  () => Buffer.from('"x"'),
  () => Buffer.alloc(1024 * 1024 + 1, 0x20),
];

function bodies(method: string, path: string, references: readonly string[]): fc.Arbitrary<Buffer | undefined> {
  if (method === 'GET' || method === 'HEAD')
    return fc.oneof({ weight: 9, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: fc.constant(Buffer.from('{}')) });
  const known = shapeOf(method, path);
  const reference = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...references) },
    { weight: 1, arbitrary: fc.string({ unit: 'binary', minLength: 1, maxLength: 30 }) },
  );
  const shaped = known === undefined ? fc.jsonValue() : arbitraryOfShape(known.shape, reference);
  const whole =
    method === 'PUT'
      ? fc.record(
          {
            labels: maps,
            annotations: maps,
            extensions: maps,
            metadata: fc.constantFrom({}, { name: 'stays' }, { name: 'x' }),
            spec: shaped,
          },
          { requiredKeys: ['spec'] },
        )
      : shaped;
  const fault = fc.oneof({ weight: 8, arbitrary: fc.constant(undefined) }, { weight: 2, arbitrary: fc.constantFrom(...textFaults) });
  const json = fc.tuple(whole, changes, fault).map(([value, wrong, faulty]) => {
    const text = JSON.stringify(wrong.reduce(changed, value)) ?? '';
    return faulty === undefined ? Buffer.from(text) : faulty(text);
  });
  return fc.oneof({ weight: method === 'PUT' ? 20 : 3, arbitrary: json }, { weight: 1, arbitrary: fc.constant(undefined) });
}

/** The value with one of its places, counted from the top, changed. */
function changed(root: unknown, { at, how, value }: Change): unknown {
  const places: { readonly holder: Record<string, unknown>; readonly key: string }[] = [];
  const copy = { root: structuredClone(root) } as Record<string, unknown>;
  const open = [copy];
  for (let holder = open.pop(); holder !== undefined; holder = open.pop()) {
    for (const [key, member] of Object.entries(holder)) {
      places.push({ holder, key });
      if (typeof member === 'object' && member !== null) open.push(member as Record<string, unknown>);
    }
  }
  const place = places[at % places.length];
  if (place === undefined) return root;
  const { holder, key } = place;
  const target = holder[key];
  if (how === 'remove' && holder !== copy) delete holder[key];
  else if (how === 'add' && typeof target === 'object' && target !== null) (target as Record<string, unknown>)['unknown'] = value;
  else if (how === 'wrap') holder[key] = [target];
  else holder[key] = value;
  return copy['root'];
}
