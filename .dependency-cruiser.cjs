// The import table: who may import whom. One array; every rule below is derived from it. There are no exceptions to it.

/**
 * A row: files under `from` may import, of what is ours, their own area (`own`, by default all of `from`) and the public entries of the
 * packages in `may`. `pure` forbids node: modules and npm packages as well, save those named in `npm`.
 */
const table = [
  { name: 'contract', from: 'packages/contract/src', may: [], pure: true, npm: ['typebox'] },
  { name: 'driver', from: 'packages/driver/src', may: ['contract'] },
  { name: 'engine', from: 'packages/engine/src', may: ['contract'] },
  { name: 'outbound', from: 'packages/outbound/src', may: ['contract'] },
  { name: 'agent', from: 'packages/agent/src', may: ['contract', 'outbound'] },
  { name: 'client', from: 'packages/client/src', may: ['contract'] },
  { name: 'cli', from: 'packages/cli/src', may: ['contract', 'client', 'outbound'] },
  { name: 'drivers', from: 'packages/drivers/src', may: ['contract', 'driver'] },
  { name: 'server', from: 'packages/server/src', but: 'packages/server/src/app\\.ts$', may: ['contract', 'driver', 'engine', 'outbound'] },
  {
    name: 'app',
    from: 'packages/server/src/app\\.ts$',
    own: 'packages/server/src',
    may: ['contract', 'driver', 'engine', 'outbound', 'drivers'],
  },
  { name: 'placement', from: 'packages/server/src/placement', may: ['contract'], pure: true, npm: [] },
  {
    name: 'outside',
    from: '(demo|bench|test|tools)',
    may: ['contract', 'client', 'driver', 'drivers', 'engine', 'outbound', 'server', 'agent', 'cli'],
  },
];

const ours = '^(packages|demo|bench|test|tools)/';
const testing = '(\\.test\\.ts$|/testing/|^test/|^bench/|^demo/|^tools/)';
const entries = (names) => names.map((name) => `^packages/${name}/src/(testing/|plain/)?index\\.ts$`);

/** Files that may load what makes HTTP requests: one for each way out, and the two that listen. All others go through them. */
const waysOut = [
  'packages/outbound/src/',
  'packages/server/src/outbound/outbound\\.ts$',
  'packages/server/src/fleet/listener\\.ts$',
  'packages/agent/src/link/exchange\\.ts$',
  'packages/agent/src/link/clock-check\\.ts$',
  'packages/agent/src/mover/run-upload\\.ts$',
  'packages/client/src/exchange\\.ts$',
];

const rows = table.map(({ name, from, but, own, may }) => ({
  name: `import-table-${name}`,
  comment: `${from} may import ${may.length === 0 ? 'nothing of ours' : may.join(', ')}, by the public entry`,
  severity: 'error',
  from: { path: `^${from}`, ...(but === undefined ? {} : { pathNot: `^${but}` }) },
  to: { path: ours, pathNot: [`^${own ?? from}/`, ...(name === 'outside' ? ['^(demo|bench|test|tools)/'] : []), ...entries(may)] },
}));

const pure = table
  .filter((row) => row.pure)
  .flatMap(({ name, from, npm }) => [
    {
      name: `pure-${name}`,
      comment: `${from} runs anywhere: no node: modules`,
      severity: 'error',
      from: { path: `^${from}/`, pathNot: testing },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: `pure-${name}-npm`,
      comment: `${from} needs no package save ${npm.join(', ') || 'none'}`,
      severity: 'error',
      from: { path: `^${from}/`, pathNot: testing },
      to: { path: 'node_modules/', pathNot: npm.map((word) => `node_modules/${word}/`) },
    },
  ]);

module.exports = {
  forbidden: [
    ...rows,
    ...pure,
    {
      name: 'no-driver-to-driver',
      comment: 'a driver knows no other driver; what several need of HTTP is in _http',
      severity: 'error',
      from: { path: '^packages/drivers/src/([^/]+)/' },
      to: { path: '^packages/drivers/src/[^/]+/', pathNot: ['^packages/drivers/src/$1/', '^packages/drivers/src/_http/'] },
    },
    {
      name: 'kind-by-its-index',
      comment: 'a kind imports another kind by its index.ts only',
      severity: 'error',
      from: { path: '^packages/server/src/kinds/([^/]+)/' },
      to: {
        path: '^packages/server/src/kinds/[^/]+/',
        pathNot: ['^packages/server/src/kinds/$1/', '^packages/server/src/kinds/[^/]+/index\\.ts$'],
      },
    },
    {
      name: 'kind-knows-no-http',
      comment: 'routes are derived from kinds, never the reverse',
      severity: 'error',
      from: { path: '^packages/server/src/kinds/' },
      to: { path: '^packages/server/src/http/' },
    },
    {
      name: 'no-tests-in-the-product',
      comment: 'only tests, testing folders and what stands outside the packages import tests and testing folders',
      severity: 'error',
      from: { pathNot: testing },
      to: { path: ['\\.test\\.ts$', '^packages/.+/testing/'] },
    },
    {
      name: 'one-way-out',
      comment: 'an outbound request knows the proxy, the CAs and the bounds: it is made by one of the ways out',
      severity: 'error',
      from: { path: '^packages/', pathNot: [testing, ...waysOut.map((path) => `^${path}`)] },
      to: { path: '^(node:)?https?$|^undici$|node_modules/undici/', dependencyTypesNot: ['type-only'] },
    },
    {
      name: 'mover-without-shapes',
      comment: 'a mover starts at once and stays small: what it loads of the contract is `plain`',
      severity: 'error',
      from: { path: '^packages/agent/src/(mover|disk|system)/', pathNot: testing },
      to: { path: '^packages/contract/src/index\\.ts$', dependencyTypesNot: ['type-only'] },
    },
    { name: 'no-cycle', comment: 'no cycles, of types neither', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'declared',
      comment: "every import is found, and its package is in the importing package's own package.json",
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-no-pkg', 'npm-unknown', 'undetermined', 'unknown'], pathNot: ours },
    },
    { name: 'found', comment: 'every import is found', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-development-packages-in-the-product',
      comment: 'the product runs without devDependencies',
      severity: 'error',
      from: { path: '^packages/', pathNot: testing },
      to: { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: 'node_modules/@types/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(packages/[^/]+|demo|bench|test|tools)/dist/' },
    tsConfig: { fileName: 'tsconfig.base.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'node', 'default', 'types'],
      mainFields: ['module', 'main', 'types'],
    },
  },
};
