import { isIPv4, isIPv6 } from 'node:net';
import { type Cidr, Problem } from '@virt8ra/contract';

/** IP addresses as numbers, so that ranges of both families are compared and divided alike. */

export interface IpAddress {
  readonly family: 4 | 6;
  readonly value: bigint;
}

export interface IpRange {
  readonly family: 4 | 6;
  readonly prefix: number;
  /** The network address. */
  readonly first: bigint;
  /** The highest address; broadcast in IPv4. */
  readonly last: bigint;
}

/** Undefined for anything but one plain address; zones and IPv4 in octal are not plain. */
export function parseAddress(text: string): IpAddress | undefined {
  if (isIPv4(text)) return { family: 4, value: joined(text.split('.').map(Number), 8n) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  const tail = dotted?.[2]?.split('.').map(Number) ?? [];
  const [a = 0, b = 0, c = 0, d = 0] = tail;
  const hex = dotted === null ? text : `${dotted[1] ?? ''}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
  const [left = '', right] = hex.split('::');
  const before = groupsOf(left);
  const after = groupsOf(right ?? '');
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0);
  return { family: 6, value: joined([...before, ...zeros, ...after], 16n) };
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

function joined(parts: readonly number[], bits: bigint): bigint {
  return parts.reduce((value, part) => (value << bits) | BigInt(part), 0n);
}

/** The canonical text (RFC 5952 for IPv6). */
export function formatAddress({ family, value }: IpAddress): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}

/** Raises `validation` with the pointer for what is no range, is of the other family, or has bits set beyond its prefix. */
export function parseRange(text: string, family: 4 | 6, pointer: string): IpRange {
  const refuse = (why: string): Problem => new Problem('validation', `${JSON.stringify(text)} ${why}`, { sources: [{ pointer }] });
  const [addressText = '', prefixText = '', more] = text.split('/');
  const address = parseAddress(addressText);
  const bits = family === 4 ? 32 : 128;
  const prefix = /^\d{1,3}$/.test(prefixText) ? Number(prefixText) : Number.NaN;
  if (address?.family !== family || more !== undefined || !(prefix <= bits)) {
    throw refuse(`is not an IPv${family} range; write it as ${family === 4 ? '10.0.0.0/24' : 'fd00:1::/64'}`);
  }
  const size = 1n << BigInt(bits - prefix);
  const first = address.value & ~(size - 1n);
  if (first !== address.value) throw refuse(`begins inside its range; write it as ${formatAddress({ family, value: first })}/${prefix}`);
  return { family, prefix, first, last: first + size - 1n };
}

/** The ranges of a dual-stack CIDR. Raises `validation` when it has none or `parseRange` does. */
export function rangesOf(cidr: Cidr, pointer: string): readonly IpRange[] {
  const ranges = [
    ...(cidr.ipv4 === undefined ? [] : [parseRange(cidr.ipv4, 4, `${pointer}/ipv4`)]),
    ...(cidr.ipv6 === undefined ? [] : [parseRange(cidr.ipv6, 6, `${pointer}/ipv6`)]),
  ];
  if (ranges.length === 0) throw new Problem('validation', 'a CIDR needs ipv4, ipv6 or both', { sources: [{ pointer }] });
  return ranges;
}

export function formatRange({ family, first, prefix }: IpRange): string {
  return `${formatAddress({ family, value: first })}/${prefix}`;
}

export function isInside(inner: IpRange, outer: IpRange): boolean {
  return inner.family === outer.family && inner.first >= outer.first && inner.last <= outer.last;
}

export function overlap(one: IpRange, other: IpRange): boolean {
  return one.family === other.family && one.first <= other.last && other.first <= one.last;
}

/** Where the host's side of the network answers: one end of the usable addresses. */
export function gatewayOf({ family, first, last }: IpRange, end: 'first' | 'last'): string {
  return formatAddress({ family, value: end === 'first' ? first + 1n : family === 4 ? last - 1n : last });
}

/** Addresses for NICs: without the range's own, the gateway, which is at one end, and, in IPv4, broadcast. */
export function addressesBeside(range: IpRange, gateway: string): { readonly first: bigint; readonly last: bigint } {
  const { family, first, last } = range;
  const most = family === 4 ? last - 1n : last;
  return gateway === gatewayOf(range, 'first') ? { first: first + 2n, last: most } : { first: first + 1n, last: most - 1n };
}
