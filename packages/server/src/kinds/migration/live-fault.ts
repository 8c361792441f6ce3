import type { HostObservation, InstanceRealizationStatus } from '@virt8ra/driver';
import type { InstanceParts } from '../instance/index.js';

/** What decides whether a guest's memory means the same on another host. */
export interface LiveQuestion {
  readonly parts: Pick<InstanceParts, 'firmware'> & { readonly size?: Pick<InstanceParts['size'], 'devices'> };
  readonly status: Pick<InstanceRealizationStatus, 'machine' | 'cpuModel' | 'accelerator' | 'pciDevices'>;
  readonly source: HostObservation | undefined;
  readonly target: HostObservation | undefined;
}

/** Why a guest cannot be moved live from one host to the other, in words that follow "because"; undefined when it can. */
export function liveFault({ parts, status, source, target }: LiveQuestion): string | undefined {
  for (const host of [source, target]) {
    if (host?.inventory === undefined) return 'one of the hosts has not told yet what it is';
    if (host.features?.includes('live') !== true) return `the agent of host ${host.host} cannot move live; update it`;
  }
  const from = source?.inventory;
  const to = target?.inventory;
  if (source === undefined || target === undefined || from === undefined || to === undefined) return 'one of the hosts is not known';
  if (parts.firmware !== 'BIOS') return `guests with ${parts.firmware} firmware can only be moved warm or cold`;
  const { machine, cpuModel, accelerator, pciDevices = [] } = status;
  // As its guest was started, and as it would be at the target.
  if (pciDevices.length > 0 || (parts.size?.devices ?? []).length > 0)
    return 'it has PCI devices of its host, whose state cannot be carried to others; a warm or cold move boots it with equal ones';
  if (machine === undefined || cpuModel === undefined) return 'its machine type and CPU model are not known yet';
  const { hypervisor } = to;
  if ((accelerator ?? from.hypervisor.accelerator) !== hypervisor.accelerator)
    return `it runs under ${accelerator ?? from.hypervisor.accelerator} and host ${target.host} has ${hypervisor.accelerator}`;
  if (!hypervisor.machines.includes(machine)) return `host ${target.host} does not know machine type ${machine}`;
  if (!hypervisor.cpuModels.includes(cpuModel)) return `host ${target.host} does not fully offer the CPU model ${cpuModel}`;
  if (isOlder(hypervisor.qemuVersion, from.hypervisor.qemuVersion))
    return `the hypervisor of host ${target.host} is older (${hypervisor.qemuVersion ?? 'none'}) than that of host ${source.host} (${from.hypervisor.qemuVersion ?? 'none'})`;
  if (from.network.mode !== to.network.mode)
    return `the hosts join guests to networks differently (${source.host}: ${from.network.mode}, ${target.host}: ${to.network.mode})`;
  return undefined;
}

/** Compares versions such as 7.2.22 by their numbers; none at all is the oldest. */
function isOlder(version: string | null, than: string | null): boolean {
  const numbers = (text: string | null): number[] => (text ?? '').split('.').map((part) => Number.parseInt(part, 10) || 0);
  const left = numbers(version);
  const right = numbers(than);
  for (let index = 0; index < Math.max(left.length, right.length); index += 1) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference < 0;
  }
  return false;
}
