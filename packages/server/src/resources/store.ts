import type { Address, Condition, Id, Kind, Progress, Reference } from '@virt8ra/contract';
import type { Handle } from '@virt8ra/driver';
import type { PoolClient } from 'pg';
import type { Realization } from './ledger-types.js';
import type { ResolvedReference, StoredResource } from './stored-resource.js';

/** Reads. Every list is keyset-paged; nothing scans. */
export interface StoreReader {
  get<Spec = unknown, Status = unknown>(kind: Kind, address: Address): Promise<StoredResource<Spec, Status> | undefined>;
  getByUid<Spec = unknown, Status = unknown>(uid: Id<'resource'>): Promise<StoredResource<Spec, Status> | undefined>;
  getManyByUid<Spec = unknown, Status = unknown>(uids: readonly Id<'resource'>[]): Promise<readonly StoredResource<Spec, Status>[]>;
  /** In the order of names. Parts missing in `within` mean all of them; only a complete `within` is served by the label index. */
  list<Spec = unknown, Status = unknown>(kind: Kind, within: Omit<Address, 'name'>, query: ListQuery): Promise<Page<Spec, Status>>;
  /** Live resources of a kind at and below a place, counted one by one; what is still going counts. */
  count(kind: Kind, within: Omit<Address, 'name'>): Promise<number>;
  /** How many resources each of these workspaces holds, in their order; what is still going counts. Costs the same however many they are. */
  heldBy(workspaces: readonly Pick<Address, 'tenant' | 'name'>[]): Promise<readonly number[]>;
  /** Resources whose stored references point at `uid`, optionally of one kind. */
  usersOf(uid: Id<'resource'>, kind?: Kind): Promise<readonly StoredResource[]>;
  /** Stored references of a resource, by pointer. */
  referencesOf(uid: Id<'resource'>): Promise<readonly { readonly pointer: string; readonly uid: Id<'resource'> }[]>;
  /** A member of the status of what a resource refers to, by pointer of the reference; without those that have none. */
  statusOfReferred(uid: Id<'resource'>, member: string): Promise<ReadonlyMap<string, unknown>>;
  readonly ledger: LedgerReader;
  progressOf(uid: Id<'resource'>): Promise<Progress | undefined>;
}

export interface ListQuery {
  /** Parsed label selector, AND. */
  readonly selector: readonly LabelTerm[];
  readonly limit: number;
  /** `next` of an earlier page. */
  readonly after: string | undefined;
  /** Only these; absent: all. */
  readonly names?: readonly string[];
  /** Whether what is gone is listed: `with` the rest, or `only` that. Default `without`; what is still going is always listed. */
  readonly deleted?: 'without' | 'with' | 'only';
}
export interface LabelTerm {
  readonly key: string;
  readonly operator: '=' | '!=' | '>' | '>=' | '<' | '<=';
  readonly value: string;
}
export interface Page<Spec, Status> {
  readonly items: readonly StoredResource<Spec, Status>[];
  readonly next: string | undefined;
}

export interface LedgerReader {
  ofResource(uid: Id<'resource'>): Promise<readonly Realization[]>;
  ofResources(uids: readonly Id<'resource'>[]): Promise<readonly Realization[]>;
  atSite(site: string): Promise<readonly Realization[]>;
  onHost(host: string): Promise<readonly Realization[]>;
  byKey(key: string): Promise<Realization | undefined>;
}

/** Writes; all of one transaction, with feed row, audit row and nudges. Raises `conflict` after serialization retries are used up. */
export interface StoreTransaction extends StoreReader {
  readonly client: PoolClient;
  /**
   * Resolves and locks (FOR SHARE) the target of a reference. Raises `validation` with the pointer when it does not exist, is going, or
   * belongs to another tenant (images and SKUs of shared tenants excepted).
   */
  resolve<Spec = unknown, Status = unknown>(
    kind: Kind,
    reference: Reference,
    from: Omit<Address, 'name'>,
    pointer: string,
  ): Promise<{ readonly target: StoredResource<Spec, Status>; readonly reference: ResolvedReference }>;
  /** Reads a resource and keeps it from changing (FOR SHARE) until the transaction ends; others may do the same. */
  share<Spec = unknown, Status = unknown>(kind: Kind, address: Address): Promise<StoredResource<Spec, Status> | undefined>;
  /** Locks the row for the rest of the transaction and re-reads it; undefined when it is gone. */
  lock<Spec = unknown, Status = unknown>(uid: Id<'resource'>): Promise<StoredResource<Spec, Status> | undefined>;
  /** The same by address. */
  lockAt<Spec = unknown, Status = unknown>(kind: Kind, address: Address): Promise<StoredResource<Spec, Status> | undefined>;
  /**
   * Creates or replaces a resource. Counts `resourceVersion` when spec, labels, annotations or extensions changed. `conditions` are new
   * entries of the history, newest first; when nothing else changed and the newest says so already, nothing is written.
   * Raises `conflict` on a resource that is being deleted.
   */
  put(write: ResourceWrite): Promise<StoredResource>;
  /**
   * Merges `patch` into the status; a member that is undefined is taken out. With `condition`, the state changes and the history grows
   * (unless state, type, reason and message equal the newest). While it is being deleted the state stays `deleting` or `error`.
   * Raises `not-found` when the resource is gone.
   */
  setStatus(uid: Id<'resource'>, patch: Readonly<Record<string, unknown>>, condition?: Omit<Condition, 'lastTransitionAt'>): Promise<void>;
  setReferences(uid: Id<'resource'>, references: readonly ResolvedReference[]): Promise<void>;
  /** Takes the resource out for good; only when nothing of it is left anywhere: raises `internal` while the ledger has rows of it. Feed says `deleted`. */
  remove(uid: Id<'resource'>): Promise<void>;
  /** Sets `deletedAt` and state deleting, once; a reconcile does the rest. */
  markDeleted(uid: Id<'resource'>): Promise<void>;
  readonly ledger: LedgerWriter;
  /** Shown and told at once when the phase changes, else at most once a second. Undefined takes it away. */
  setProgress(uid: Id<'resource'>, progress: Omit<Progress, 'updatedAt'> | undefined): Promise<void>;
  audit(entry: AuditEntry): Promise<void>;
  /** Wakes the reconcile of a resource when the transaction commits. */
  nudge(kind: string, uid: Id<'resource'>, afterSeconds?: number): Promise<void>;
}

export interface ResourceWrite {
  readonly kind: Kind;
  readonly address: Address;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly spec: unknown;
  readonly status?: Readonly<Record<string, unknown>>;
  readonly state: Condition['state'];
  readonly conditions: readonly Omit<Condition, 'lastTransitionAt'>[];
  readonly references?: readonly ResolvedReference[];
}

export interface LedgerWriter extends LedgerReader {
  /** Writes the intent. `generation` is the next of the resource; the key is `<uid>-g<generation>` (+ `-<host>` when `perHost`). */
  intend(intent: {
    readonly resourceUid: Id<'resource'>;
    readonly role: Realization['role'];
    readonly facet: Realization['facet'];
    readonly site: string;
    readonly host?: string;
    readonly facts?: Readonly<Record<string, unknown>>;
  }): Promise<Realization>;
  confirm(id: Id<'realization'>, handle: Handle): Promise<void>;
  setRole(id: Id<'realization'>, role: Realization['role']): Promise<void>;
  /** Merges. */
  setFacts(id: Id<'realization'>, facts: Readonly<Record<string, unknown>>): Promise<void>;
  setRemoving(id: Id<'realization'>): Promise<void>;
  /** Only after a positive not-found. */
  forget(id: Id<'realization'>): Promise<void>;
}

export interface AuditEntry {
  readonly subject: string;
  readonly remote: string;
  readonly verb: string;
  readonly resource: string;
  readonly code: number;
  readonly before?: string;
  readonly after?: string;
  readonly reason?: string;
}

export interface Store extends StoreReader {
  /**
   * Runs `work` in one transaction. It is begun again when others got in the way, so that it must do nothing outside of `tx`. Once it has
   * resolved, all of it is committed. It holds one connection: everything in it is to be read through `tx`.
   */
  transaction<Value>(work: (tx: StoreTransaction) => Promise<Value>): Promise<Value>;
}
