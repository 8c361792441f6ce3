import type { Id } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';

/** What a resource became at one site. Written before the provider is asked; forgotten only after a positive not-found. */
export interface Realization {
  readonly id: Id<'realization'>;
  readonly resourceUid: Id<'resource'>;
  readonly generation: number;
  readonly role: 'primary' | 'incoming' | 'retained';
  readonly facet: 'instances' | 'blockStorages' | 'networks' | 'securityGroups' | 'disks' | 'backups' | 'snapshots';
  readonly site: string;
  readonly host: string | undefined;
  /** Resource uid + generation (+ host for things made per host): never reused. */
  readonly key: string;
  readonly state: 'intended' | 'present' | 'removing';
  readonly handle: Handle | undefined;
  /** Facts worth keeping that only the site can tell (machine type, CPU model, last permit epoch). */
  readonly facts: Readonly<Record<string, unknown>>;
  readonly createdAt: string;
}
