import type { DesiredInstance, Difference } from '@virt8ra/contract';

/** What of a desired instance only a new start brings to its guest. */
export interface StartedWith {
  readonly vCPU: number;
  readonly memoryMiB: number;
  readonly cpuPolicy?: string;
  readonly hugePages?: string;
  /** `ID COUNT`, of each PCI device of the host. */
  readonly pciDevices?: readonly string[];
  /** `MAC addresses`, of each NIC. */
  readonly nics?: readonly string[];
  readonly exposedPorts?: readonly number[];
  readonly firmware?: string;
}

export function startedWith(desired: DesiredInstance): StartedWith {
  const { vCPU, memoryMiB, cpuPolicy = 'shared', hugePages = 'none', pciDevices = [], nics, exposedPorts, firmware } = desired;
  return {
    vCPU,
    memoryMiB,
    cpuPolicy,
    hugePages,
    pciDevices: pciDevices.map(({ id, count }) => `${id} ${count}`).toSorted(),
    nics: nics.map(({ networkKey, mac, addresses }) => [networkKey, mac, ...addresses].join(' ')),
    exposedPorts,
    firmware,
  };
}

/** In what a running guest differs from what is desired of it. What is not known of the guest is no difference. */
export function differencesOf(started: StartedWith | undefined, desired: DesiredInstance): Difference[] {
  if (started === undefined) return [];
  const wanted = startedWith(desired);
  const fields = ['vCPU', 'memoryMiB', 'cpuPolicy', 'hugePages', 'pciDevices', 'nics', 'exposedPorts', 'firmware'] as const;
  return fields.flatMap((field) => {
    const actual = started[field];
    if (actual === undefined || text(actual) === text(wanted[field])) return [];
    return [{ field, desired: text(wanted[field]), actual: text(actual) }];
  });
}

function text(value: StartedWith[keyof StartedWith]): string {
  return (Array.isArray(value) ? value.join(', ') : String(value)).slice(0, 1024);
}
