import { createHash } from 'node:crypto';
import { type DesiredFilter, filterText } from '@virt8ra/contract';
import type { Machine } from './simulated-machine.js';

/** Takes over rules and members at once; its network must be there, as on a real host. */
export function convergeFilter(machine: Machine, desired: DesiredFilter): void {
  const { key, networkKey } = desired;
  if (machine.get('network', networkKey)?.state !== 'ready') {
    machine.post('filter', key, { key, state: 'creating' });
    return;
  }
  const nics = machine.desired().instances.flatMap((instance) => instance.nics.filter(({ filters }) => filters?.includes(key) === true));
  machine.post('filter', key, {
    key,
    state: 'ready',
    digest: createHash('sha256').update(filterText(desired)).digest('hex'),
    nics: nics.length,
  });
}
