// Makes a bare machine ready: npm packages, the build, and the Debian packages that the named parts need.
// Runs before any `npm ci`, so it may use nothing but Node itself.
import { spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Exit code when something must be installed by a person first. */
export const NEEDS_INSTALL = 3;

const bootLoader = '/usr/lib/syslinux/mbr/mbr.bin';

/** Per part: what must be found (a command, or an absolute file) and the Debian package that brings it. */
export const systemParts = {
  qemu: { 'qemu-system-x86_64': 'qemu-system-x86', 'qemu-img': 'qemu-utils', 'qemu-nbd': 'qemu-utils', setpriv: 'util-linux' },
  nbd: { nbdcopy: 'libnbd-bin', nbdkit: 'nbdkit' },
  net: {
    nft: 'nftables',
    ip: 'iproute2',
    bridge: 'iproute2',
    tc: 'iproute2',
    nsenter: 'util-linux',
    sysctl: 'procps',
    dnsmasq: 'dnsmasq-base',
    wg: 'wireguard-tools',
    'wireguard-go': 'wireguard-go',
    ping: 'iputils-ping',
  },
  seed: { genisoimage: 'genisoimage' },
  guest: {
    mcopy: 'mtools',
    'mkfs.vfat': 'dosfstools',
    syslinux: 'syslinux',
    [bootLoader]: 'syslinux-common',
    mke2fs: 'e2fsprogs',
    depmod: 'kmod',
    cpio: 'cpio',
    sfdisk: 'fdisk',
    'qemu-img': 'qemu-utils',
  },
  'guest-disks': { guestfish: 'guestfish', supermin: 'supermin', '/lib/modules': 'linux-image-cloud-amd64' },
};

/** @typedef {keyof typeof systemParts} SystemPart */
/** @type {SystemPart[]} */
export const everySystemPart = ['qemu', 'nbd', 'net', 'seed', 'guest', 'guest-disks'];

const searchPath = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin', '/usr/bin', '/bin'].filter(Boolean);

function isThere(name) {
  return (name.startsWith('/') ? [name] : searchPath.map((folder) => join(folder, name))).some((file) => {
    try {
      accessSync(file, name.startsWith('/') ? constants.R_OK : constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Debian packages that the parts need and this machine lacks, in the order of the table. */
export function missingPackages(parts, found = isThere) {
  const missing = parts.flatMap((part) => Object.entries(systemParts[part])).filter(([name]) => !found(name));
  return [...new Set(missing.map(([, debianPackage]) => debianPackage))];
}

/** True when node_modules is absent or older than the lock file. */
export function npmIsStale(folder = root) {
  const changed = (file) => statSync(join(folder, file), { throwIfNoEntry: false })?.mtimeMs;
  const installed = changed('node_modules/.package-lock.json');
  const lock = changed('package-lock.json');
  return installed === undefined || (lock !== undefined && lock > installed);
}

/** A printer of `[  1.2s] text` lines that counts from its making. */
export function progress(write = (line) => process.stdout.write(line)) {
  const begin = performance.now();
  return (text) => write(`[${((performance.now() - begin) / 1000).toFixed(1).padStart(6)}s] ${text}\n`);
}

/** Runs a command in the repository; its output goes to our own. Throws when it fails. */
function run(command, args, env = {}) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}`);
}

function ensureSystem(parts, { dryRun, say }) {
  const packages = missingPackages(parts);
  if (packages.length === 0) return true;
  const install = ['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=300', ...packages];
  if (dryRun) {
    say(`would run: apt-get ${install.join(' ')}`);
    return true;
  }
  if (process.getuid?.() !== 0 || !isThere('apt-get')) {
    say(`missing on this machine: ${packages.join(' ')}. Run this once, then repeat:`);
    say(`sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages.join(' ')}`);
    return false;
  }
  const env = { DEBIAN_FRONTEND: 'noninteractive' };
  say(`installing ${packages.join(' ')}`);
  run('apt-get', ['update', '-q', '-o', 'DPkg::Lock::Timeout=300'], env);
  run('apt-get', ['-q', ...install], env);
  const still = missingPackages(parts);
  if (still.length > 0) throw new Error(`still missing after the installation: ${still.join(' ')}`);
  return true;
}

/**
 * Installs what is missing. `system` names the parts of `systemParts`; false is answered when a person must install something first
 * (the line to run has been printed); anything else that fails throws.
 *
 * @param {{ npm?: boolean, build?: boolean, system?: SystemPart[], dryRun?: boolean, say?: (text: string) => unknown }} [wanted]
 */
export function ensure({ npm = true, build = true, system = [], dryRun = false, say = progress() } = {}) {
  if (!ensureSystem(system, { dryRun, say })) return false;
  if (npm && npmIsStale()) {
    say(dryRun ? 'would run: npm ci' : 'npm ci');
    if (!dryRun) run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
  }
  if (build) {
    say(dryRun ? 'would run: tsc -b' : 'tsc -b');
    if (!dryRun) run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', '--pretty', 'false']);
  }
  if (!dryRun) say('ready');
  return true;
}

// node tools/ensure.mjs [--dry-run] [--no-build] [PART…]   (no part: all of them)
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const words = process.argv.slice(2);
  const named = words.filter((word) => !word.startsWith('--'));
  const unknown = named.find((part) => !(part in systemParts));
  if (unknown !== undefined) {
    process.stderr.write(`unknown part ${unknown}; there are ${everySystemPart.join(', ')}\n`);
    process.exit(2);
  }
  const system = /** @type {SystemPart[]} */ (named.length > 0 ? named : everySystemPart);
  try {
    const ready = ensure({ system, dryRun: words.includes('--dry-run'), build: !words.includes('--no-build') });
    process.exit(ready ? 0 : NEEDS_INSTALL);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.exit(1);
  }
}
