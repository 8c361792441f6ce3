import { createHash } from 'node:crypto';

/** What our objects carry, so that they are found by their key and told from others. */
export const keyMark = 'virt8ra_key';

/** Of networks and ports, which have no metadata; names are not unique there, and everybody may give them. */
export function markedName(key: string): string {
  return `virt8ra-${key}`;
}

export function keyFromName(name: string): string | undefined {
  return name.startsWith('virt8ra-') ? name.slice('virt8ra-'.length) : undefined;
}

/** One id for one key, where the service lets us choose. */
export function idFromKey(key: string): string {
  const hex = createHash('sha256').update(`virt8ra image ${key}`).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-5${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
