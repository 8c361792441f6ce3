// What an earlier version leaves behind, for the test of the upgrade from it (test/upgrade.test.ts):
//   node tools/earlier-state.mjs COMMIT      writes test/upgrade/COMMIT/database.sql and protocol.json
// It builds that commit aside, starts its server on a PostgreSQL of its own, makes some resources by the API, and dumps the database as text with
// all its rows, and the shapes of the agents' protocol. Needs git, npm and Debian's PostgreSQL. Ids and times differ from run to run; nothing secret is in it.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './ensure.mjs';

const [commit] = process.argv.slice(2);
if (commit === undefined) {
  process.stderr.write('usage: node tools/earlier-state.mjs COMMIT\n');
  process.exit(2);
}
const short = execFileSync('git', ['rev-parse', '--short=7', commit], { cwd: root, encoding: 'utf8' }).trim();
const outside = mkdtempSync(join(tmpdir(), 'v8earlier-'));
chmodSync(outside, 0o755);
const tree = join(outside, 'tree');
const state = join(outside, 'state');
const run = (file, args, options = {}) => execFileSync(file, args, { cwd: tree, stdio: ['ignore', 'inherit', 'inherit'], ...options });

/** Rows that an upgrade must keep: of kinds with status, references, network addresses, roles, and a deletion. */
async function makeRows(url, token) {
  const call = async (method, path, body) => {
    const response = await fetch(`${url}/providers/${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
  };
  const put = async (path, spec, rest = {}) => await call('PUT', path, { spec, ...rest });
  const shop = 'tenants/default/workspaces/shop';
  await put('seca.workspace/v1/tenants/default/workspaces/shop', {}, { labels: { env: 'prod' } });
  await put('virt8ra.topology/v1beta1/providers/test', { displayName: 'Test', legalSeat: 'PL' });
  await put('virt8ra.topology/v1beta1/accounts/test', { providerRef: 'providers/test', driver: 'agent' });
  await put('virt8ra.topology/v1beta1/sites/here', { accountRef: 'accounts/test', country: 'PL', tier: 'edge' });
  await put(`seca.network/v1/${shop}/networks/lan`, { cidr: { ipv4: '10.30.0.0/24' }, skuRef: 'skus/n1k' });
  await put(`seca.network/v1/${shop}/networks/lan/subnets/web`, { cidr: { ipv4: '10.30.0.0/26' } });
  await put(`seca.network/v1/${shop}/nics/web`, { subnetRef: 'networks/lan/subnets/web', addresses: ['0.0.0.0'] });
  await put(`seca.storage/v1/${shop}/block-storages/root`, { sizeGB: 1, skuRef: 'skus/rd100' });
  const spec = { zone: 'any', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/root' } };
  await put(`seca.compute/v1/${shop}/instances/web`, spec, { extensions: { 'virt8ra.power': 'on' } });
  await put(`seca.storage/v1/${shop}/block-storages/gone`, { sizeGB: 2, skuRef: 'skus/rd100' });
  await call('DELETE', `seca.storage/v1/${shop}/block-storages/gone`);
}

let server;
try {
  execFileSync('git', ['worktree', 'add', '--detach', '--force', tree, short], { cwd: root, stdio: 'ignore' });
  run('npm', ['ci', '--no-audit', '--no-fund']);
  run(process.execPath, ['node_modules/typescript/bin/tsc', '-b']);
  server = spawn(
    process.execPath,
    ['packages/server/dist/main.js', '--state', state, '--api-listen', '127.0.0.1:0', '--agents-listen', '127.0.0.1:0'],
    { cwd: tree, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  const url = await new Promise((resolve, reject) => {
    let said = '';
    server.stdout.on('data', (text) => {
      said += text;
      const [, found] = /is ready at (\S+) after/.exec(said) ?? [];
      if (found !== undefined) resolve(found);
    });
    server.once('exit', () => reject(new Error('the earlier server ended')));
  });
  await makeRows(url, readFileSync(join(state, 'admin-token'), 'utf8').trim());
  const out = join(root, 'test/upgrade', short);
  mkdirSync(out, { recursive: true });
  const [major] = readdirSync('/usr/lib/postgresql')
    .map(Number)
    .sort((left, right) => right - left);
  const dump = execFileSync(
    `/usr/lib/postgresql/${major}/bin/pg_dump`,
    [
      '--host',
      join(state, 'pg/run'),
      '--username',
      'virt8ra',
      '--no-owner',
      '--no-privileges',
      '--inserts',
      '--rows-per-insert=100',
      'virt8ra',
    ],
    {
      encoding: 'utf8',
      maxBuffer: 1 << 28,
      env: { PATH: process.env.PATH, PGPASSWORD: readFileSync(join(state, 'pg/password'), 'utf8').trim() },
    },
  );
  // What psql alone understands, and what says nothing.
  const lines = dump.split('\n').filter((line) => line !== '' && line !== '--' && !/^(--|\\|SET transaction_timeout)/.test(line));
  writeFileSync(join(out, 'database.sql'), `${lines.join('\n')}\n`);
  const { ServerMessage, AgentMessage } = await import(pathToFileURL(join(tree, 'packages/contract/dist/index.js')).href);
  writeFileSync(join(out, 'protocol.json'), `${JSON.stringify({ ServerMessage, AgentMessage })}\n`);
  process.stdout.write(`written to ${out}\n`);
} finally {
  if (server !== undefined && server.exitCode === null) {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGTERM');
    await ended;
  }
  spawnSync('git', ['worktree', 'remove', '--force', tree], { cwd: root });
  rmSync(outside, { recursive: true, force: true, maxRetries: 5 });
}
