import { Problem } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import type { Networking } from '../host-context.js';
import { probeNetworking } from './probe.js';

/** What guests' networks lack without bridges. */
const userLimits = [
  'each guest is alone in its network, behind the host’s address; access endpoints lead to it',
  'no security groups, route tables, public addresses, rates, IPv6, nor names of other guests',
] as const;

/** Bridges where this host can have them and nobody asked for less. Raises Problem unsupported when they were asked for and cannot be. */
export async function chooseNetworking(config: AgentConfig, agentId: string): Promise<Networking> {
  const userMode = (reason: string): Networking => ({ mode: 'user', reason, features: [], limits: userLimits });
  if (config.network === 'user') return userMode('chosen by --network');
  const probe = config.root ? await probeNetworking(agentId) : { usable: false, reason: 'bridges need root', features: [], limits: [] };
  if (probe.usable) return { mode: 'bridge', reason: probe.reason, features: probe.features, limits: probe.limits };
  if (config.network === 'bridge') throw new Problem('unsupported', `--network bridge is not possible here: ${probe.reason}`);
  return userMode(probe.reason);
}
