import { isIP, isIPv4 } from 'node:net';
import { Problem } from '@virt8ra/contract';

export type Version = 4 | 6;

/** What stands before the slash. Raises Problem validation for what is no address: it goes into rules and configurations. */
export function addressOf(text: string): string {
  const address = text.split('/')[0] ?? '';
  if (isIP(address) === 0 || address.includes('%')) throw new Problem('validation', `${JSON.stringify(text)} is no IP address`);
  return address;
}

export function versionOf(text: string): Version {
  return isIPv4(addressOf(text)) ? 4 : 6;
}

/** Address and prefix length; a bare address is a range of one. Raises Problem validation. */
export function rangeOf(text: string): { readonly address: string; readonly bits: number; readonly version: Version } {
  const version = versionOf(text);
  const most = version === 4 ? 32 : 128;
  const [, length, more] = text.split('/');
  const bits = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : Number.NaN;
  if (more !== undefined || !(bits <= most)) throw new Problem('validation', `${JSON.stringify(text)} is no range of addresses`);
  return { address: addressOf(text), bits, version };
}

/** Addresses of one version, each once, in order. */
export function ofVersion(texts: readonly string[], version: Version): string[] {
  return [...new Set(texts.map(addressOf))].filter((address) => versionOf(address) === version).sort();
}

/** First address of the range that an IPv4 address in CIDR notation is in, and its mask. */
export function subnet4(cidr: string): { readonly network: string; readonly mask: string } {
  const { address, bits } = rangeOf(cidr);
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const mask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
  const text = (value: number) => [24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff).join('.');
  return { network: text((number & mask) >>> 0), mask: text(mask) };
}

/** The eight groups of an IPv6 address. */
export function groupsOf(address: string): number[] {
  // The URL parser writes an address's last 32 bits, too, as groups.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = text.split('::');
  const split = (part: string) => part.split(':').filter((group) => group !== '');
  const [left, right] = [split(head), split(tail ?? '')];
  const middle = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...middle, ...right].map((group) => Number.parseInt(group, 16));
}

/** First address of the range that an IPv6 address in CIDR notation is in. */
export function subnet6(cidr: string): string {
  const { address, bits } = rangeOf(cidr);
  const kept = groupsOf(address).map((group, index) => {
    const left = Math.min(Math.max(bits - index * 16, 0), 16);
    return group & ((0xffff << (16 - left)) & 0xffff);
  });
  return kept.map((group) => group.toString(16)).join(':');
}

/** A range as text that is equal for equal ranges, however they are written. */
export function canonical(cidr: string): string {
  const { address, bits, version } = rangeOf(cidr);
  return `${version === 4 ? address : groupsOf(address).join(':')}/${bits}`;
}
