// `npm run check`: what must hold of the sources. The first stage that fails shows its output and ends the run.
//   node tools/check.mjs [--only STAGE] [PATH…]     (PATH limits a stage to what lies there)
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from './ensure.mjs';

const productLines = 400;
const testLines = 800;
const vendors = /opennebula|openstack|ionos|arsys|oktawave|proxmox|incus|libvirt/i;
const skipped = new Set(['node_modules', 'dist', '.git', '.cache', '.state']);
// Where a TypeScript project of tsconfig.json looks: a file elsewhere would be checked by nobody.
const typed = /^((packages\/[^/]+\/src|demo|bench|test|tools)\/.*|vitest\.config\.ts)$/;

/** Ends what still runs when a stage has failed. */
const stop = new AbortController();

/** Output of a command run in the repository, and whether it failed. */
function command(file, args) {
  return new Promise((resolve) => {
    const options = { cwd: root, encoding: 'utf8', maxBuffer: 256 << 20, signal: stop.signal };
    execFile(process.execPath, [join(root, 'node_modules', file), ...args], options, (error, stdout, stderr) =>
      resolve({ failed: error !== null, output: `${stdout}${stderr}${typeof error?.code === 'string' ? `${error.message}\n` : ''}` }),
    );
  });
}

function* sources(folder = root) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (skipped.has(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (/\.(ts|tsx|mjs|cjs|sh)$/.test(entry.name)) yield relative(root, path);
  }
}

function layout(paths) {
  const findings = [];
  for (const path of sources()) {
    if (paths.length > 0 && !paths.some((prefix) => path.startsWith(prefix))) continue;
    const lines = readFileSync(join(root, path), 'utf8').split('\n').length - 1;
    const limit = path.endsWith('.test.ts') ? testLines : productLines;
    if (lines > limit) findings.push(`${path}: ${lines} lines, ${limit} are allowed`);
    if (path.endsWith('.ts') && !typed.test(path)) findings.push(`${path}: belongs to no TypeScript project`);
    if (/^packages\/[^/]+\/src\//.test(path) && !/^packages\/drivers\/src\/[^/]+\//.test(path) && vendors.test(path))
      findings.push(`${path}: a vendor's word outside its driver's folder`);
  }
  return { failed: findings.length > 0, output: findings.map((finding) => `${finding}\n`).join('') };
}

const everywhere = ['packages', 'demo', 'bench', 'test', 'tools'];

/** @typedef {{ failed: boolean; output: string }} Result */

/** @type {Record<string, (paths: string[]) => Result | Promise<Result>>} */
const stages = {
  format: (paths) =>
    command('@biomejs/biome/bin/biome', ['check', '--error-on-warnings', '--max-diagnostics=200', ...(paths.length ? paths : ['.'])]),
  layout,
  types: (paths) => command('typescript/bin/tsc', ['-b', '--pretty', 'false', ...paths]),
  imports: (paths) =>
    command('dependency-cruiser/bin/dependency-cruise.mjs', [
      '--config',
      '.dependency-cruiser.cjs',
      '--output-type',
      'err-long',
      ...(paths.length ? paths : everywhere),
    ]),
  promises: (paths) =>
    command('eslint/bin/eslint.js', ['--max-warnings=0', '--no-error-on-unmatched-pattern', ...(paths.length ? paths : everywhere)]),
};

const words = process.argv.slice(2);
const at = words.indexOf('--only');
const only = at < 0 ? undefined : words.splice(at, 2)[1];
if (only !== undefined && !(only in stages)) {
  process.stderr.write(`unknown stage ${only}; there are ${Object.keys(stages).join(', ')}\n`);
  process.exit(2);
}
/** @param {string} name */
async function timed(name) {
  const begin = performance.now();
  return { ...(await stages[name](words)), seconds: (performance.now() - begin) / 1000 };
}
const chosen = only === undefined ? Object.keys(stages) : [only];
// The longest takes one core from the beginning, the others the second in turn.
const beside = new Map(chosen.filter((name) => name === 'promises').map((name) => [name, timed(name)]));
for (const name of chosen) {
  const { failed, output, seconds } = await (beside.get(name) ?? timed(name));
  if (failed) process.stdout.write(output);
  process.stdout.write(`check ${name.padEnd(8)} ${failed ? 'FAILED' : 'ok    '} ${seconds.toFixed(1).padStart(5)} s\n`);
  if (failed) {
    stop.abort();
    process.exit(1);
  }
}
