import { createHash } from 'node:crypto';

/** A network interface's name: at most 15 characters, the same for the same parts. */
export function interfaceName(
  prefix: 'v8b' | 'v8h' | 'v8i' | 'v8n' | 'v8o' | 'v8t' | 'v8u' | 'v8w' | 'v8x',
  ...parts: readonly string[]
): string {
  return prefix + createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 12);
}

/** A locally administered MAC address, the same for the same parts. */
export function localMac(...parts: readonly string[]): string {
  const digest = createHash('sha256').update(parts.join('\n')).digest('hex');
  return ['02', ...[0, 2, 4, 6, 8].map((at) => digest.slice(at, at + 2))].join(':');
}

/** Whether an interface of that name is one that an agent made: a bridge, a tap, a tunnel and what joins them. */
export function isOwnInterface(name: string): boolean {
  return /^v8[bhiotuwx]/.test(name);
}
