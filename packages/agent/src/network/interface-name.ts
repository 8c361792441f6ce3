import { createHash } from 'node:crypto';

/** Bridge, host’s end of a pair, shaper of a tap, namespace and that of the tunnels, tap, other end of a pair, tunnels, a network’s way into them. */
type Prefix = 'v8b' | 'v8h' | 'v8i' | 'v8n' | 'v8o' | 'v8t' | 'v8u' | 'v8w' | 'v8x';

/** A network interface's name: at most 15 characters, the same for the same parts. */
export function interfaceName(prefix: Prefix, ...parts: readonly string[]): string {
  return prefix + createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12);
}

/** A locally administered MAC address, the same for the same parts. */
export function localMac(...parts: readonly string[]): string {
  const digest = createHash('sha256').update(parts.join('\n')).digest('hex');
  return ['02', ...[0, 2, 4, 6, 8].map((at) => digest.slice(at, at + 2))].join(':');
}

export function tapName(agent: string, nicKey: string): string {
  return interfaceName('v8t', agent, nicKey);
}

/** Taps carry their owner in the alias: `virt8ra:AGENT:NIC`. */
export function tapAlias(agent: string, nicKey: string): string {
  return `virt8ra:${agent}:${nicKey}`;
}

/** Name of the device through which what comes from a tap is slowed down. */
export function shaperName(tap: string): string {
  return tap.replace(/^v8t/, 'v8i');
}

/** Whether an interface of that name is one that an agent made: a bridge, a tap, a tunnel and what joins them. */
export function isOwnInterface(name: string): boolean {
  return /^v8[bhiotuwx]/.test(name);
}
