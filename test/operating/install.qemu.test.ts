import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasPostgres } from '@virt8ra/engine/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DocsBlock, docsBlocks } from './docs-commands.js';
import { joinMachines, type Machine, startMachine } from './machine.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const needed = [
  '/usr/bin/dpkg-deb',
  '/usr/bin/apt-get',
  '/usr/bin/unshare',
  '/usr/bin/nsenter',
  '/usr/bin/curl',
  '/usr/sbin/ip',
  '/usr/sbin/nft',
  '/usr/bin/genisoimage',
  '/usr/bin/qemu-img',
  '/usr/bin/qemu-system-x86_64',
];
const missing = [
  ...needed.filter((file) => !existsSync(file)),
  ...(process.getuid?.() === 0 ? [] : ['root']),
  ...(process.arch === 'x64' ? [] : ['an amd64 machine']),
  ...((await hasPostgres('debian')) ? [] : ['Debian’s PostgreSQL']),
];
if (missing.length > 0) process.stdout.write(`skipped: ${missing.join(', ')} is missing\n`);

/** The commands of docs/operating/install.md, as they stand there, with the packages of this commit. */
describe.skipIf(missing.length > 0)('the installation that the documentation describes', () => {
  const blocks = docsBlocks(join(root, 'docs/operating/install.md'));
  const names = ['server', 'host-1', 'host-2'] as const;
  const machines: Machine[] = [];
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'v8docs-'));
    const share = join(folder, 'share');
    mkdirSync(share);
    for (const [program, ...words] of [
      [join(root, 'tools/guest/make-guest.sh')],
      [process.execPath, join(root, 'tools/package.mjs'), '--output', share],
    ]) {
      const made = spawnSync(program ?? '', words, { encoding: 'utf8', cwd: root });
      if (made.status !== 0) throw new Error(`${program} ${words.join(' ')}: ${made.stdout}${made.stderr}`);
    }
    const { image } = JSON.parse(readFileSync(join(root, '.cache/guest/guest.json'), 'utf8')) as { image: string };
    copyFileSync(join(root, '.cache/guest', image), join(share, 'debian.qcow2'));
    for (const name of names) machines.push(await startMachine(name, folder, share));
    joinMachines(machines);
    // What is recommended is there already, or not needed here; nothing is fetched.
    for (const machine of machines) writeFileSync(machine.path('/etc/apt/apt.conf.d/99here'), 'APT::Install-Recommends "false";\n');
  }, 300_000);
  afterAll(async () => {
    await Promise.all(machines.map(async (machine) => await machine.stop()));
    rmSync(folder, { recursive: true, force: true });
  }, 60_000);

  const machine = (name: string): Machine => {
    const found = machines.find((each) => each.name === name);
    if (found === undefined) throw new Error(`there is no machine ${name}`);
    return found;
  };
  async function run(name: string, script: string): Promise<string> {
    const { status, stdout, output } = await machine(name).run(script, 240);
    if (status === 0) return stdout;
    const logs = await Promise.all(machines.map(async (each) => `--- ${each.name}\n${(await each.run('tail -n 15 /run/*.log')).output}`));
    throw new Error(`on ${name}, this ended with ${status}:\n${script}\n${output}\n${logs.join('\n')}`);
  }
  async function follow({ machine: where, role, script }: DocsBlock, host: string): Promise<void> {
    for (const each of role === 'plain' && where === 'server' ? [host] : names.slice(1)) {
      const printed = await run(where === 'server' ? 'server' : each, script.replaceAll(/\bHOST\b/g, each));
      if (role === 'enrol') await run(each, printed);
    }
  }
  const under = (heading: string): readonly DocsBlock[] => blocks.filter((block) => block.under === heading);
  async function followAll(heading: string, host = 'host-1'): Promise<void> {
    expect(under(heading), heading).not.toEqual([]);
    for (const block of under(heading)) await follow(block, host);
  }
  const hostOfGuest = async (): Promise<string> => {
    const { status } = JSON.parse(await run('server', 'virt8ra get instance web -o json')) as { status: { placement: { host: string } } };
    return status.placement.host;
  };
  const guestsOn = async (name: string): Promise<string> => (await machine(name).run('pgrep -f qemu-system')).stdout.trim();

  it('covers every command on the page', () => {
    const followed = [
      'The control plane',
      'Each host',
      'A first guest',
      'Host maintenance',
      'Upgrade',
      'Move the control plane, or bring it back',
    ];
    expect([...new Set(blocks.map((block) => block.under))]).toEqual(followed);
  });

  it('makes a control plane and links hosts', async () => {
    await followAll('The control plane');
    await followAll('Each host');
    expect((await run('server', 'virt8ra hosts -o name')).trim().split('\n')).toEqual(['host/host-1', 'host/host-2']);
    // The token of a host stands nowhere once it is used; the server is nobody’s superuser.
    expect((await run('server', 'ps -o user= -p $(cat /run/virt8ra-server.pid)')).trim()).toBe('virt8ra');
  });

  it('runs a guest', async () => {
    await followAll('A first guest');
    expect(await guestsOn(await hostOfGuest())).toMatch(/^\d+/);
  });

  it('empties a host and takes it back', async () => {
    const before = await hostOfGuest();
    await followAll('Host maintenance', before);
    const after = await hostOfGuest();
    expect([before, after].toSorted()).toEqual(['host-1', 'host-2']);
    expect(await guestsOn(before)).toBe('');
    expect(await guestsOn(after)).toMatch(/^\d+/);
  });

  it('upgrades everything while the guest runs on', async () => {
    const host = await hostOfGuest();
    const guest = await guestsOn(host);
    await followAll('Upgrade');
    await run('server', `virt8ra wait host ${host} --for /status/connected/value=true --timeout 60s`);
    await run('server', 'virt8ra wait instance web --for activity=running --timeout 60s');
    expect(await guestsOn(host)).toBe(guest);
  });

  it('brings the control plane back from a copy, and the hosts find it', async () => {
    const guest = await guestsOn(await hostOfGuest());
    await followAll('Move the control plane, or bring it back');
    expect(await guestsOn(await hostOfGuest())).toBe(guest);
  });
});
