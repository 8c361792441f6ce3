// `npm run package [-- --output DIR] [--node bundled|system] [NAME…]`: a tarball and a Debian package of the agent, and of the server with
// the command line. Bundled: with the Node that runs this, so that nothing but Debian's own packages is needed where it is installed.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ensure, NEEDS_INSTALL, progress, root } from './ensure.mjs';
import { runtimeClosure } from './package/closure.mjs';
import { debianPackage, run } from './package/debian.mjs';
import { bundledNode, stageProgram } from './package/stage.mjs';

const architectures = /** @type {Record<string, { debian: string, qemu: string }>} */ ({
  x64: { debian: 'amd64', qemu: 'qemu-system-x86' },
  arm64: { debian: 'arm64', qemu: 'qemu-system-arm' },
});
const common = {
  Maintainer: 'The Virt8ra maintainers',
  Section: 'admin',
  Priority: 'optional',
};

/** @type {Record<string, { packages: string[], programs: Record<string, string>, depends: string[], recommends: string[], summary: string, more: string }>} */
const products = {
  'virt8ra-agent': {
    packages: ['agent'],
    programs: { 'virt8ra-agent': '@virt8ra/agent/dist/main.js' },
    depends: ['qemu-utils', 'util-linux', 'genisoimage', 'iproute2', 'nftables', 'procps', 'wireguard-tools', 'iputils-ping'],
    recommends: ['ovmf', 'dnsmasq-base', 'wireguard-go'],
    summary: 'Virt8ra agent: runs guests on this host for a control plane',
    more: 'Dials out to one control plane, keeps its guests running when it is restarted,\n updated or cut off.',
  },
  'virt8ra-server': {
    packages: ['server', 'cli'],
    programs: { 'virt8ra-server': '@virt8ra/server/dist/main.js', virt8ra: '@virt8ra/cli/dist/main.js' },
    depends: ['adduser'],
    recommends: ['postgresql', 'qemu-utils'],
    summary: 'Virt8ra control plane and its command line',
    more: 'One control plane over hosts, virtual machines and clusters of many providers.',
  },
};

const { values, positionals } = parseArgs({
  options: { output: { type: 'string', default: join(root, 'dist') }, node: { type: 'string', default: 'bundled' } },
  allowPositionals: true,
});
const unknown = positionals.find((name) => !(name in products));
if (unknown !== undefined || !['bundled', 'system'].includes(values.node)) {
  process.stderr.write(`npm run package [-- --output DIR] [--node bundled|system] [${Object.keys(products).join('|')}]\n`);
  process.exit(2);
}
if (!ensure({ say: () => undefined })) process.exit(NEEDS_INSTALL);

const say = progress();
const output = resolve(values.output);
mkdirSync(output, { recursive: true });
const machine = architectures[process.arch];
if (machine === undefined) throw new Error(`there is no package for ${process.arch}`);
const node = values.node === 'bundled' ? bundledNode() : undefined;
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
// Of the last commit, so that a commit makes the same package whenever it is built.
const epoch = existsSync(join(root, '.git')) ? Number(run('git', ['-C', root, 'log', '-1', '--format=%ct']).trim()) : 0;
const build = existsSync(join(root, '.git'))
  ? run('git', ['-C', root, 'describe', '--always', '--dirty', '--abbrev=40']).trim()
  : String(epoch);
const launchers = { 'virt8ra-agent': readFileSync(join(root, 'tools/package/launch-agent.sh'), 'utf8') };
const work = mkdtempSync(join(output, '.package-'));
try {
  for (const [name, { packages, programs, depends, recommends, summary, more }] of Object.entries(products)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    const folder = `${name}-${version}`;
    const staged = join(work, folder);
    const release = { product: name, version, architecture: machine.debian, build };
    stageProgram({ to: staged, parts: runtimeClosure(packages), programs, node, launchers, release });
    const tarball = join(output, `${folder}-linux-${machine.debian}.tar.gz`);
    const stable = ['--sort=name', '--owner=0', '--group=0', '--numeric-owner', `--mtime=@${epoch}`, '--mode=go-w'];
    run('tar', [...stable, '--use-compress-program=gzip -n -6', '-cf', tarball, '-C', work, folder]);
    say(tarball);
    const needs = [...(node === undefined ? ['nodejs (>= 20.19)'] : ['libc6 (>= 2.28)', 'libstdc++6']), ...depends];
    if (name === 'virt8ra-agent') needs.push(machine.qemu);
    const extra =
      name === 'virt8ra-server'
        ? {
            'usr/share/bash-completion/completions/virt8ra': run(process.execPath, [
              join(root, 'packages/cli/dist/main.js'),
              'completion',
              'bash',
            ]),
          }
        : {};
    say(
      debianPackage({
        name,
        version,
        architecture: node === undefined ? 'all' : machine.debian,
        control: { ...common, Depends: needs.join(', '), Recommends: recommends.join(', '), Description: `${summary}\n ${more}` },
        staged,
        programs: Object.keys(programs),
        extra,
        work,
        output,
        epoch,
      }),
    );
  }
} finally {
  rmSync(work, { recursive: true, force: true });
}
