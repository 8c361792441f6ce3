import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { isOwnInterface } from '../network/interface-name.js';

/** More would only make peers try longer. */
const most = 8;

/**
 * Where peers may try to reach this host: what its operator said and nothing else, or the address for data ports and then every address that
 * has a meaning outside this machine.
 */
export function overlayEndpoints(given: readonly string[], dataAddress: string, port: number, interfaces = networkInterfaces()): string[] {
  if (given.length > 0) return given.slice(0, most);
  const addresses = Object.entries(interfaces).flatMap(([name, entries = []]) =>
    isOwnInterface(name) ? [] : entries.filter(({ internal }) => !internal).map(({ address }) => address),
  );
  const usable = [dataAddress, ...addresses].filter((address) => !/^(127\.|::1$|0\.0\.0\.0$|::$|fe80:|169\.254\.)/i.test(address));
  return [...new Set(usable)].slice(0, most).map((address) => (isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`));
}
