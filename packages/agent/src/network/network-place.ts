import { runCommand } from '../system/run-command.js';
import { interfaceName, localMac } from './interface-name.js';

/**
 * Where a network is on this machine: a network namespace with one bridge in it, shared by all agents of the machine that serve the same
 * control plane. All of it follows from the control plane's CA and the network's VXLAN identifier. What joins other machines to the network
 * makes its link in the host's own namespace, moves it here and gives it the bridge as master.
 */
export interface NetworkPlace {
  /** As `ip netns` knows it. */
  readonly namespace: string;
  readonly bridge: string;
  /** MAC of the bridge, on every host the same: the guests' gateway follows them. */
  readonly gatewayMac: string;
  /** Ends of the pair that leads to the host: the host's, and the namespace's. */
  readonly hostLink: string;
  readonly uplink: string;
}

export function networkPlace(controlPlane: string, vni: number): NetworkPlace {
  const of = (prefix: 'v8n' | 'v8b' | 'v8h' | 'v8u') => interfaceName(prefix, controlPlane, String(vni));
  const bridge = of('v8b');
  return { namespace: of('v8n'), bridge, gatewayMac: localMac(bridge), hostLink: of('v8h'), uplink: of('v8u') };
}

/** A link of another making that belongs into a network, such as a tunnel to other machines. Everything may be repeated. */
export interface NetworkExtension {
  /** The network's namespace and bridge stand: joins the link to them, or mends it. Answers sentences about what is lacking. */
  attach(networkKey: string, place: NetworkPlace): Promise<readonly string[]>;
  /** This agent leaves the network; the namespace may go right after. */
  detach(networkKey: string, place: NetworkPlace): Promise<void>;
}

/** Runs a command inside a network's namespace. */
export async function runInside(namespace: string, command: string, args: readonly string[], input?: string): Promise<string> {
  return await runCommand('nsenter', [`--net=/run/netns/${namespace}`, command, ...args], input === undefined ? {} : { input });
}
