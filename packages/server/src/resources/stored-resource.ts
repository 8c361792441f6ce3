import type { Address, Condition, Id, Reference } from '@virt8ra/contract';

/** A resource as the store keeps it. */
export interface StoredResource<Spec = unknown, Status = unknown> {
  readonly uid: Id<'resource'>;
  readonly kind: string;
  readonly address: Address;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly extensions: Readonly<Record<string, string>>;
  /** The caller's own words, echoed verbatim. */
  readonly spec: Spec;
  /** Without `state` and `conditions`, which live beside it. */
  readonly status: Status;
  readonly state: Condition['state'];
  /** Newest first. */
  readonly conditions: readonly Condition[];
  /** Counts the owner's changes only. */
  readonly resourceVersion: number;
  /** Position on the change feed of the last change of any kind. */
  readonly revision: string;
  readonly createdAt: string;
  readonly lastModifiedAt: string;
  readonly deletedAt: string | undefined;
}

/** A reference found in a spec while admitting it, kept so that users and targets find each other. */
export interface ResolvedReference {
  readonly pointer: string;
  readonly given: Reference;
  readonly uid: Id<'resource'>;
}
