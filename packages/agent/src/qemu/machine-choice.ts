import { type DesiredInstance, Problem } from '@virt8ra/contract';
import { preferredCpuModels } from './accelerator-choice.js';
import type { Hypervisor } from './probe.js';

export interface MachineChoice {
  readonly machine: string;
  readonly cpuModel: string;
}

const preferredArmCpu = 'cortex-a72';

/**
 * The machine type and CPU model of a start. What was recorded at the first start binds; a host that lacks it refuses (Problem
 * unsupported) and does not show the guest another machine.
 */
export function chooseMachine(
  instance: Pick<DesiredInstance, 'architecture' | 'machine' | 'cpuModel'>,
  recorded: Partial<MachineChoice>,
  hypervisor: Hypervisor,
): MachineChoice {
  if (instance.architecture === 'arm64') {
    if (!hypervisor.arm64)
      throw new Problem(
        'unsupported',
        'this host has no qemu-system-aarch64 (apt install qemu-system-arm), so that it cannot run arm64 guests',
      );
    const version = /^(\d+\.\d+)/.exec(hypervisor.qemuVersion ?? '')?.[1] ?? '7.2';
    return {
      machine: recorded.machine ?? instance.machine ?? `virt-${version}`,
      cpuModel: recorded.cpuModel ?? instance.cpuModel ?? preferredArmCpu,
    };
  }
  if (hypervisor.qemuVersion === null) throw new Problem('unsupported', hypervisor.reason);
  const machine = recorded.machine ?? instance.machine ?? hypervisor.machines[0];
  const cpuModel = recorded.cpuModel ?? instance.cpuModel ?? preferredCpuModels.find((model) => hypervisor.cpuModels.includes(model));
  if (machine === undefined || !hypervisor.machines.includes(machine)) {
    throw new Problem(
      'unsupported',
      `this host’s QEMU ${hypervisor.qemuVersion} has no machine type ${machine ?? 'for guests'}; it must be at least as new as where the guest began`,
    );
  }
  if (cpuModel === undefined || !hypervisor.cpuModels.includes(cpuModel)) {
    throw new Problem('unsupported', `this host does not fully offer the CPU model ${cpuModel ?? 'a guest needs'}`);
  }
  return { machine, cpuModel };
}
