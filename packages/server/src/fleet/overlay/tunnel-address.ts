import { createHash } from 'node:crypto';

/**
 * The address of a host's end of its tunnels: a unique local IPv6 address (RFC 4193) whose global identifier follows from the control plane's
 * CA and whose interface identifier follows from the host. `attempt` makes another one where two hosts would have the same.
 */
export function tunnelAddress(caSha256: string, host: string, attempt = 0): string {
  const site = createHash('sha256').update(`virt8ra-overlay\n${caSha256}`).digest().subarray(0, 5);
  const id = createHash('sha256').update(`${host}\n${attempt}`).digest().subarray(0, 8);
  // Subnet 1 of the prefix; the interface identifier is never zero, which is the routers' own.
  id[7] = (id[7] ?? 0) | 1;
  const bytes = Buffer.concat([Buffer.from([0xfd]), site, Buffer.from([0, 1]), id]);
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
