import type { HostContext } from '../host-context.js';
import { tapName } from '../network/interface-name.js';
import { deleteTap, sweepTaps } from '../network/taps.js';
import type { GuestNetworks } from './guest-networks.js';
import type { InstanceStore } from './instance-store.js';

/** Removes the taps of a guest that is gone. May be repeated. */
export async function dropTaps({ agentId, networking }: HostContext, networks: GuestNetworks, nicKeys: readonly string[]): Promise<void> {
  if (networking.mode !== 'bridge') return;
  for (const nicKey of nicKeys) await deleteTap(tapName(agentId, nicKey), networks.namespaces());
}

/**
 * Removes this agent's taps, save those of what is desired here and of what runs here whether desired or not. `counts` leaves instances out.
 * Answers how many.
 */
export async function sweepGuestTaps(
  { agentId, ledger, networking }: HostContext,
  store: InstanceStore,
  networks: GuestNetworks,
  counts: (key: string) => boolean = () => true,
): Promise<number> {
  if (networking.mode !== 'bridge') return 0;
  const desired = ledger.state.instances.filter(({ key }) => counts(key)).flatMap(({ nics }) => nics.map((nic) => nic.key));
  const running = store.all().flatMap(({ key, launch }) => (counts(key) ? (launch?.nicKeys ?? []) : []));
  return await sweepTaps(agentId, new Set([...desired, ...running].map((key) => tapName(agentId, key))), networks.namespaces());
}
