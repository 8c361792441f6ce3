import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readJson, writeJsonAtomic } from '../disk/atomic-file.js';
import { hasCommand, runCommand } from '../system/run-command.js';
import { chooseAccelerator } from './accelerator-choice.js';
import { guestUid, kvmGroup, unprivileged } from './guest-user.js';

/** What the hypervisor on this host can do. */
export interface Hypervisor {
  readonly qemuVersion: string | null;
  readonly accelerator: 'kvm' | 'tcg';
  /** Why this accelerator and no other. */
  readonly reason: string;
  /** Versioned machine types, newest q35 first. */
  readonly machines: readonly string[];
  /** Versioned CPU models that this host offers without any feature missing. */
  readonly cpuModels: readonly string[];
  readonly arm64: boolean;
}

const binary = 'qemu-system-x86_64';

/**
 * Asks QEMU what it has and finds out whether KVM really runs a guest. The answer is kept in `cacheFile` for this boot and this QEMU,
 * because the questions take seconds.
 */
export async function probeHypervisor(cacheFile: string, bootId: string, root: boolean): Promise<Hypervisor> {
  const arm64 = await hasCommand('qemu-system-aarch64');
  if (!(await hasCommand(binary))) {
    return {
      qemuVersion: null,
      accelerator: 'tcg',
      reason: `${binary} is not installed (apt install qemu-system-x86)`,
      machines: [],
      cpuModels: [],
      arm64,
    };
  }
  const banner = (await runCommand(binary, ['--version'])).split('\n')[0] ?? '';
  const qemuVersion = /version (\d+\.\d+(?:\.\d+)?)/.exec(banner)?.[1] ?? banner;
  const cached = (await readJson(cacheFile).catch(() => undefined)) as
    | { bootId?: string; banner?: string; hypervisor?: Hypervisor }
    | undefined;
  if (cached?.bootId === bootId && cached.banner === banner && cached.hypervisor?.arm64 === arm64) return cached.hypervisor;
  const kvm = await runProbeGuest('kvm', root);
  const underKvm = kvm.usable ? await askQemu('kvm', root) : undefined;
  const choice = chooseAccelerator(kvm, underKvm?.cpuModels ?? []);
  const offer = choice.accelerator === 'kvm' && underKvm !== undefined ? underKvm : await askQemu('tcg', root);
  const hypervisor: Hypervisor = { qemuVersion, ...choice, ...offer, arm64 };
  await writeJsonAtomic(cacheFile, { bootId, banner, hypervisor });
  return hypervisor;
}

async function prefix(root: boolean): Promise<string[]> {
  if (!root) return unprivileged(undefined, []);
  const uid = guestUid('probe');
  const kvmGid = await kvmGroup();
  return unprivileged({ uid, gid: uid, ...(kvmGid === undefined ? {} : { kvmGid }) }, []);
}

async function askQemu(accelerator: 'kvm' | 'tcg', root: boolean): Promise<{ machines: string[]; cpuModels: string[] }> {
  const [command = '', ...args] = [
    ...(await prefix(root)),
    binary,
    '-machine',
    'none',
    '-accel',
    accelerator,
    '-nodefaults',
    '-display',
    'none',
    '-qmp',
    'stdio',
  ];
  const questions = ['qmp_capabilities', 'query-machines', 'query-cpu-definitions', 'quit']
    .map((execute) => JSON.stringify({ execute, id: execute }))
    .join('\n');
  const answers = new Map<string, Record<string, unknown>[]>();
  for (const line of (await runCommand(command, args, { input: `${questions}\n`, timeoutMs: 20_000 })).split('\n')) {
    if (line.trim() === '') continue;
    const answer = JSON.parse(line) as { id?: string; return?: unknown };
    if (answer.id !== undefined && Array.isArray(answer.return)) answers.set(answer.id, answer.return as Record<string, unknown>[]);
  }
  const machines = (answers.get('query-machines') ?? [])
    .filter((machine) => machine['deprecated'] !== true && /^pc-(q35|i440fx)-\d/.test(String(machine['name'])))
    .map((machine) => String(machine['name']))
    .sort(
      (left, right) => Number(right.includes('q35')) - Number(left.includes('q35')) || right.localeCompare(left, 'en', { numeric: true }),
    );
  const cpuModels = (answers.get('query-cpu-definitions') ?? [])
    .filter(
      (model) =>
        Array.isArray(model['unavailable-features']) && model['unavailable-features'].length === 0 && /-v\d+$/.test(String(model['name'])),
    )
    .map((model) => String(model['name']))
    .sort();
  return { machines, cpuModels };
}

/**
 * A boot sector that writes 0x10 to I/O port 0xf4, where QEMU's isa-debug-exit ends the process with status 0x21:
 * cli; xor ax,ax; mov ds,ax; mov ss,ax; mov sp,0x7c00; mov al,0x10; out 0xf4,al; hlt; jmp $-1
 */
const exitSector = Buffer.concat([
  Buffer.from('fa31c08ed88ed0bc007cb010e6f4f4ebfd', 'hex'),
  Buffer.alloc(512 - 17 - 2),
  Buffer.from([0x55, 0xaa]),
]);
const exitStatus = (0x10 << 1) | 1;

/** Runs a guest. A /dev/kvm that opens says little: nested virtualisation may refuse at the first instruction. */
export async function runProbeGuest(accelerator: 'kvm' | 'tcg', root: boolean): Promise<{ usable: boolean; reason: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'virt8ra-probe-'));
  try {
    const image = join(folder, 'boot.img');
    await writeFile(image, exitSector, { mode: 0o644 });
    await runCommand('chmod', ['0755', folder]);
    const [command = '', ...args] = [
      ...(await prefix(root)),
      ...[binary, '-machine', 'pc', '-accel', accelerator, '-m', '32', '-nodefaults', '-display', 'none', '-no-reboot'],
      ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=1'],
      ...['-drive', `if=ide,format=raw,readonly=off,snapshot=on,file=${image}`],
    ];
    return await new Promise((resolve) => {
      const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
      let said = '';
      const timer = setTimeout(() => {
        said = 'the probe guest did not run within 15 s';
        child.kill('SIGKILL');
      }, 15_000);
      child.stderr.setEncoding('utf8').on('data', (text: string) => {
        if (said.length < 1024) said += text;
      });
      child.once('error', (error) => {
        said = error.message;
      });
      child.once('close', (status) => {
        clearTimeout(timer);
        if (status === exitStatus) resolve({ usable: true, reason: `a probe guest ran under ${accelerator.toUpperCase()}` });
        else
          resolve({
            usable: false,
            reason: `${accelerator.toUpperCase()} ran no guest: ${said.trim().replaceAll(/\s+/g, ' ').slice(0, 300) || `QEMU ended with ${status}`}`,
          });
      });
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
