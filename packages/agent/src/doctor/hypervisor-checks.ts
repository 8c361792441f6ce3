import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Finding, found } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { lackOfAppliance } from '../guest-disks/appliance-folder.js';
import { probeHypervisor } from '../qemu/probe.js';
import { systemClock } from '../system/boot-clock.js';
import { hasCommand } from '../system/run-command.js';

/** Programs the agent calls, the Debian package of each, and what is missing without it. */
const tools = [
  ['qemu-img', 'qemu-utils', 'disks cannot be made', 'fail'],
  ['qemu-nbd', 'qemu-utils', 'disks cannot be moved', 'fail'],
  ['setpriv', 'util-linux', 'guests cannot be confined, and none is started', 'fail'],
  ['genisoimage', 'genisoimage', 'guests get no first configuration', 'warn'],
] as const;
const rootTools = [
  ['ip', 'iproute2', 'there are no bridges', 'warn'],
  ['nft', 'nftables', 'there are no bridges', 'warn'],
] as const;
const oldestQemu = 7;

export async function checkHypervisor(config: AgentConfig): Promise<readonly Finding[]> {
  const scratch = await mkdtemp(join(tmpdir(), 'virt8ra-doctor-'));
  try {
    // A look of its own: what the agent has found at its start may no longer be so.
    const { qemuVersion, accelerator, reason } = await probeHypervisor(join(scratch, 'hypervisor.json'), systemClock().bootId, config.root);
    if (qemuVersion === null)
      return [found('hypervisor/qemu', 'fail', reason, 'apt install qemu-system-x86'), ...(await checkTools(config))];
    const old = Number.parseInt(qemuVersion, 10) < oldestQemu;
    return [
      found('hypervisor/qemu', old ? 'warn' : 'pass', `QEMU ${qemuVersion}`, `use QEMU ${oldestQemu}.0 or newer`),
      found('hypervisor/kvm', accelerator === 'kvm' ? 'pass' : 'warn', `guests run under ${accelerator.toUpperCase()}: ${reason}`, kvmMend),
      ...(await checkTools(config)),
    ];
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

const kvmMend = 'switch virtualisation on in the firmware, load kvm_intel or kvm_amd; without it guests are emulated, many times slower';

async function checkTools({ root }: AgentConfig): Promise<readonly Finding[]> {
  const findings: Finding[] = [];
  for (const [program, debianPackage, without, level] of [...tools, ...(root ? rootTools : [])]) {
    if (!(await hasCommand(program)))
      findings.push(found(`hypervisor/${program}`, level, `${program} is not installed: ${without}`, `apt install ${debianPackage}`));
  }
  if (findings.length === 0) findings.push(found('hypervisor/tools', 'pass', 'every program that the agent calls is there'));
  const firmware = await Promise.all(['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_CODE.fd'].map(isThere));
  const uefi = firmware.includes(true);
  const lack = await lackOfAppliance();
  findings.push(
    found(
      'hypervisor/guest-disks',
      lack === undefined ? 'pass' : 'warn',
      lack ?? 'disks of guests can be looked into, and prepared after a move',
      lack?.split(': ').at(-1),
    ),
    found('hypervisor/uefi', uefi ? 'pass' : 'warn', uefi ? 'firmware for UEFI guests' : 'no firmware for UEFI guests', 'apt install ovmf'),
  );
  return findings;
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
