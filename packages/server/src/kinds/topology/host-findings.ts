import type { HostFinding } from '@virt8ra/contract';
import type { HostStatus } from '../../fleet/hosts.js';

/** The margin by which permits with an expiry are ended early: clocks that differ by more eat it up. */
const clockSeconds = 5;

/** What a person should know of a host: what it tells itself, and what only the control plane can see. */
export function findingsOf({ inventory, clockOffsetSeconds = 0 }: Pick<HostStatus, 'inventory' | 'clockOffsetSeconds'>): HostFinding[] {
  const told = inventory?.findings ?? [];
  if (Math.abs(clockOffsetSeconds) <= clockSeconds) return told;
  const off = `${Math.round(Math.abs(clockOffsetSeconds))} s ${clockOffsetSeconds < 0 ? 'behind' : 'ahead of'}`;
  return [
    ...told,
    {
      code: 'clock',
      message: `the clock of this host is ${off} the control plane’s. Permits with an expiry, certificates and the times shown depend on it: set it (\`timedatectl set-ntp true\`, or \`chronyc makestep\`), or the control plane’s if that is the wrong one.`,
    },
  ];
}
