import type { Guest } from '../qemu/guest.js';

/** Name under which disk `index` of the target is written by the source. */
export function exportName(index: number): string {
  return `disk${index}`;
}

/** Stop before the switch, and slow a guest down whose memory changes faster than it can be sent. */
export async function setCapabilities(guest: Guest): Promise<void> {
  const capabilities = ['events', 'pause-before-switchover', 'auto-converge'].map((capability) => ({ capability, state: true }));
  await guest.monitor.run('migrate-set-capabilities', { capabilities });
}

/** An address as URIs have it. */
export function hostOf(address: string): string {
  return address.includes(':') ? `[${address}]` : address;
}
