// `node tools/seca-suite.mjs --source DIR [--filter REGEX] [--report FILE]`: SECA's own conformance suite against this control plane in profile
// `conformance`, on simulated hosts. DIR is a checkout of github.com/eu-sovereign-cloud/conformance; nothing of it is kept here. Skips, saying
// why, where the suite cannot be built. Fails when a scenario fails that docs/seca.md does not say will.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensure, NEEDS_INSTALL, progress, root } from './ensure.mjs';

const help = `node tools/seca-suite.mjs --source DIR [--filter REGEX] [--report FILE]: SECA's conformance suite against this control plane

  --source DIR    a checkout of github.com/eu-sovereign-cloud/conformance
  --filter REGEX  only scenarios whose name matches
  --report FILE   writes the suite's own summary, as JSON
  --help
`;

/** Room for any size of the catalogue, dedicated processors and huge pages included. */
const facts = {
  cpu: { model: 'Simulated', cores: 64, threads: 128, numaCells: 1 },
  memoryMiB: 1_048_576,
  capacity: { vCPU: 64, memoryMiB: 524_288, storageBytes: 4e12, dedicatedCPU: 48, huge2Mi: 131_072, huge1Gi: 131_072 },
  dedicatedCPUs: Array.from({ length: 48 }, (_, index) => 80 + index),
};

/** Scenarios that docs/seca.md says the suite fails, each with its twin or the rule it breaks. */
function expectedFailures() {
  const page = readFileSync(join(root, 'docs/seca.md'), 'utf8');
  const [, section = ''] = page.split('## What the suite itself says\n');
  return new Set([...(section.split('\n## ')[0] ?? '').matchAll(/^\| (\w+\.V1\.\w+) \|/gm)].map(([, name = '']) => name));
}

/** The suite's program, or why there is none. */
function build(source, folder) {
  if (source === undefined) return { lacks: 'no checkout of the suite was named; say --source DIR' };
  if (!existsSync(join(source, 'cmd/conformance'))) return { lacks: `${source} is no checkout of the suite` };
  if (spawnSync('go', ['version']).status !== 0) return { lacks: 'go is not installed' };
  const program = join(folder, 'secatest');
  const { status, stderr } = spawnSync('go', ['test', '-c', '-o', program, './cmd/conformance'], { cwd: source, encoding: 'utf8' });
  return status === 0 ? { program } : { lacks: `the suite cannot be built here: ${stderr.trim().split('\n').at(-1)}` };
}

/** @returns {Promise<{ scenarios: { name: string, status: string, steps?: Step[] }[] }>} */
async function runSuite(program, plane, { folder, filter }) {
  const region = (await plane.call('GET', '/providers/seca.region/v1/regions')).body.items[0].metadata.name;
  const summary = join(folder, 'summary.json');
  const words = [
    'run',
    `--provider.region.v1=${plane.url}/providers/seca.region`,
    `--provider.authorization.v1=${plane.url}/providers/seca.authorization`,
    `--client.auth.token=${plane.token}`,
    `--client.region=${region}`,
    '--client.tenant=default',
    '--scenarios.users=ada@example.org,bob@example.org',
    '--scenarios.cidr=10.1.0.0/16',
    '--scenarios.public.ips=52.93.126.0/26',
    `--report.results.path=${join(folder, 'results')}`,
    `--output.summary.path=${summary}`,
    '--retry.base.delay=0',
    // Halved each time, so that this is the whole of its patience twice over.
    '--retry.base.interval=4',
    '--retry.max.attempts=12',
    ...(filter === undefined ? [] : [`--scenarios.filter=${filter}`]),
  ];
  const child = spawn(program, words, { cwd: folder, stdio: 'ignore' });
  await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  return JSON.parse(readFileSync(summary, 'utf8'));
}

/** @typedef {{ name: string, status: string, steps?: Step[] }} Step */
/** The steps that failed, outermost first. @param {Step[]} steps @returns {string[]} */
function failedSteps(steps = []) {
  return steps.filter(({ status }) => status !== 'passed').flatMap(({ name, steps: inner }) => [name, ...failedSteps(inner)]);
}

async function main() {
  const options = /** @type {const} */ ({
    source: { type: 'string' },
    filter: { type: 'string' },
    report: { type: 'string' },
    help: { type: 'boolean' },
  });
  const { values } = parseArgs({ options });
  if (values.help) {
    process.stdout.write(help);
    return 0;
  }
  const say = progress();
  if (!ensure({ system: [], say })) return NEEDS_INSTALL;
  const folder = mkdtempSync(join(tmpdir(), 'v8seca-'));
  try {
    say('building the suite');
    const { program, lacks } = build(values.source, folder);
    if (program === undefined) {
      process.stdout.write(`skipped: ${lacks}\n`);
      return 0;
    }
    const { startControlPlane } = await import('@virt8ra/server/testing');
    const plane = await startControlPlane(['--api-profile', 'conformance']);
    try {
      await plane.addSite('alpha', { facts, publicAddresses: ['52.93.126.0/26'] });
      await plane.addHost('alpha-2', 'alpha', { facts });
      say('running it');
      const summary = await runSuite(program, plane, { folder, filter: values.filter });
      if (values.report !== undefined) writeFileSync(values.report, `${JSON.stringify(summary, null, 2)}\n`);
      return judge(summary.scenarios, values.filter === undefined);
    } finally {
      await plane.stop();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @param {{ name: string, status: string, steps?: Step[] }[]} scenarios @param {boolean} whole */
function judge(scenarios, whole) {
  const expected = expectedFailures();
  const failed = scenarios.filter(({ status }) => status !== 'passed');
  for (const { name, steps } of failed) {
    process.stdout.write(`${name} fails${expected.has(name) ? ', as docs/seca.md says' : ''}: ${failedSteps(steps).join(' > ')}\n`);
  }
  const names = new Set(failed.map(({ name }) => name));
  const astray = [...names].filter((name) => !expected.has(name));
  const passing = whole ? [...expected].filter((name) => !names.has(name)) : [];
  for (const name of passing) process.stdout.write(`${name} passes, and docs/seca.md says it fails\n`);
  process.stdout.write(`${scenarios.length - failed.length} passed, ${failed.length} failed\n`);
  return astray.length + passing.length === 0 && scenarios.length > 0 ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 2;
}
