// `npm run soak [-- --seeds N] [--first K] [FILTER…]`: the seeded suites (kills, fuzz, models), again and again, each time with another seed.
// Stops at the first seed that fails and prints the line that repeats it. The last line counts seeds: `N passed, N failed`.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { ensure, everySystemPart, progress, root } from './ensure.mjs';

const help = `npm run soak [-- OPTIONS] [FILTER…]: the seeded suites, each time with another seed

  --seeds N   how many (50)
  --first K   the first one (1)
  FILTER      only suites whose path contains one of these
  --help
`;

/** @param {string} option @param {string} text */
function whole(option, text) {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`--${option} must be a whole number, not ${text}`);
  return Number(text);
}

function parse() {
  const options = /** @type {const} */ ({ seeds: { type: 'string' }, first: { type: 'string' }, help: { type: 'boolean' } });
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (values.help) {
    process.stdout.write(help);
    process.exit(0);
  }
  return { count: whole('seeds', values.seeds ?? '50'), first: whole('first', values.first ?? '1'), filters: positionals };
}

/** Tests that take the seed they are given: a suite joins by asking for it. */
function seededSuites(filters) {
  const words = ['grep', '-l', '--untracked', '-F', 'readConfigureGlobal()', '--', '*.test.ts'];
  const files = spawnSync('git', words, { cwd: root, encoding: 'utf8' }).stdout.split('\n').filter(Boolean);
  return filters.length === 0 ? files : files.filter((file) => filters.some((filter) => file.includes(filter)));
}

/**
 * One project of vitest.config.ts with one seed.
 *
 * @returns {Promise<{ ok: boolean, ran: number, output: string, failed: string[] }>}
 */
async function runProject(project, files, seed, folder) {
  const report = join(folder, `${project}.json`);
  const words = ['run', '--project', project, '--bail=1', '--passWithNoTests', '--reporter=default', '--reporter=json'];
  const child = spawn(
    process.execPath,
    [join(root, 'node_modules/vitest/vitest.mjs'), ...words, `--outputFile.json=${report}`, '--no-file-parallelism', ...files],
    { cwd: root, env: { ...process.env, VIRT8RA_SEED: String(seed) }, stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
  }
  const status = await new Promise((resolve) => {
    child.once('error', (error) => {
      output += error.message;
      resolve(1);
    });
    child.once('close', resolve);
  });
  try {
    const { numPassedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
    const failed = testResults.filter((result) => result.status === 'failed').map(({ name }) => relative(root, name));
    return { ok: status === 0, ran: numPassedTests, output, failed };
  } catch {
    return { ok: false, ran: 0, output, failed: files };
  } finally {
    rmSync(report, { force: true });
  }
}

async function soak() {
  const { count, first, filters } = parse();
  process.chdir(root);
  const say = progress();
  if (!ensure({ system: everySystemPart, say })) say('going on: suites that need these are skipped');
  const files = seededSuites(filters);
  if (files.length === 0) throw new Error('no seeded suite has such a path');
  say(`${count} seeds from ${first}, ${files.length} suites`);
  const folder = mkdtempSync(join(tmpdir(), 'v8soak-'));
  let passed = 0;
  let failed = 0;
  try {
    for (let seed = first; seed < first + count && failed === 0; seed += 1) {
      const begin = performance.now();
      let tests = 0;
      for (const project of ['parallel', 'serial']) {
        const result = await runProject(project, files, seed, folder);
        tests += result.ran;
        if (result.ok) continue;
        failed += 1;
        process.stdout.write(`${result.output}\nseed ${seed} failed; again with:\n`);
        process.stdout.write(`  VIRT8RA_SEED=${seed} npm test -- ${result.failed.join(' ')}\n`);
        break;
      }
      if (failed > 0) break;
      // Suites that lack something skip; a seed that tried nothing proves nothing.
      if (tests === 0) throw new Error('no test ran');
      passed += 1;
      say(`seed ${seed}: ${tests} tests in ${((performance.now() - begin) / 1000).toFixed(0)} s (${passed} of ${count})`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await soak();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 2;
}
