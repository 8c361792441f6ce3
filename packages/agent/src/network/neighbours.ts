import type { DesiredNetwork } from '@virt8ra/contract';
import { addressOf, groupsOf, versionOf } from './address.js';
import { type NetworkPlace, runInside } from './network-place.js';

/**
 * The gateway's knowledge of which MAC has which address of the network, wherever that guest is. Asking for it would not do: what the gateway of one
 * machine asks, guests of another answer to the gateway of their own.
 */
export type Neighbours = ReadonlyMap<string, string>;

/** By an address's one spelling. Raises Problem validation for what is no address. */
export function desiredNeighbours({ neighbours = [] }: DesiredNetwork): Neighbours {
  return new Map(neighbours.map(({ address, mac }) => [spelled(address), mac]));
}

/** From the kernel's own list, `ip -j neigh show`. */
export function seenNeighbours(json: string): Neighbours {
  const entries = JSON.parse(json.trim() || '[]') as {
    readonly dst?: string;
    readonly lladdr?: string;
    readonly state?: readonly string[];
  }[];
  return new Map(
    entries.flatMap(({ dst, lladdr, state }) =>
      dst !== undefined && lladdr !== undefined && state?.includes('PERMANENT') === true ? [[spelled(dst), lladdr]] : [],
    ),
  );
}

/**
 * Makes the kernel's entries those that are wanted and takes away those that this agent wanted before: others may be of another agent of the machine.
 * Answers whether anything had to be done. May be repeated.
 */
export async function applyNeighbours(
  { namespace, bridge }: NetworkPlace,
  wanted: Neighbours,
  before: Neighbours,
  seen: Neighbours,
): Promise<boolean> {
  const lines = [
    ...[...wanted]
      .filter(([address, mac]) => seen.get(address) !== mac)
      .map(([address, mac]) => `replace ${address} lladdr ${mac} dev ${bridge} nud permanent`),
    ...[...before.keys()]
      .filter((address) => !wanted.has(address) && seen.has(address))
      .map((address) => `delete ${address} dev ${bridge}`),
  ];
  if (lines.length === 0) return false;
  await runInside(namespace, 'ip', ['-force', '-batch', '-'], `${lines.map((line) => `neigh ${line}`).join('\n')}\n`);
  return true;
}

function spelled(text: string): string {
  const address = addressOf(text);
  return versionOf(address) === 4
    ? address
    : groupsOf(address)
        .map((group) => group.toString(16))
        .join(':');
}
