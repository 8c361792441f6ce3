import type { Kind, Resource, RoleScope } from '@virt8ra/contract';
import type { Outcome } from '@virt8ra/engine';
import type { TSchema } from 'typebox';
import type { StoreReader, StoreTransaction } from '../resources/store.js';
import type { ResolvedReference, StoredResource } from '../resources/stored-resource.js';

/**
 * What a kind does beyond its shape. `admit*` run inside the transaction that stores the change and only read and write the database;
 * `reconcile` is level-triggered, takes nothing but the resource's identity and may talk to sites.
 */
export interface KindBehaviour<Spec = unknown, Status = unknown> {
  readonly kind: Kind<TSchema, TSchema>;
  /** Rules that need more than the shape. Raises `validation`, `conflict`, `exhausted` or `unsupported`; nothing is stored then. */
  admitPut?(tx: StoreTransaction, request: PutRequest<Spec, Status>): Promise<Admission<Status>>;
  /** What is written along with it, in the same transaction, once it has an identity. */
  afterPut?(
    tx: StoreTransaction,
    resource: StoredResource<Spec, Status>,
    request: PutRequest<Spec, Status>,
    admission: Admission<Status>,
  ): Promise<void>;
  /** Raises `conflict` when something still uses it. */
  admitDelete?(tx: StoreTransaction, resource: StoredResource<Spec, Status>, subject: Subject): Promise<void>;
  /** Whether a deletion that is admitted is the end of it. Absent: it is for kinds without a reconcile. */
  goesAtOnce?(tx: StoreTransaction, resource: StoredResource<Spec, Status>): Promise<boolean>;
  /** POST verbs named by the kind; `body` has the shape the kind gives it. The value, if any, becomes a 200 body; otherwise 202 without body. */
  readonly actions?: Readonly<
    Record<string, (tx: StoreTransaction, resource: StoredResource<Spec, Status>, subject: Subject, body: unknown) => Promise<unknown>>
  >;
  /** Brings the world to the resource. Absent: the resource is a record only. Called again on nudge and after `waitSeconds`. */
  reconcile?(resource: StoredResource<Spec, Status>): Promise<Outcome>;
  /** Facts computed at read time (ages, counts, connectivity); must be cheap and is called with a whole page. */
  present?(reader: StoreReader, resources: readonly StoredResource<Spec, Status>[]): Promise<readonly Partial<Status>[]>;
}

export interface PutRequest<Spec, Status> {
  readonly address: StoredResource['address'];
  readonly next: Pick<Resource<Spec>, 'labels' | 'annotations' | 'extensions' | 'spec'>;
  /** Undefined when it is created. */
  readonly previous: StoredResource<Spec, Status> | undefined;
  readonly subject: Subject;
  /** True when nobody asks for a change: what the resource names has come or gone. Only with declarative references. */
  readonly again?: boolean;
}

/** A reference to what is not there yet. */
export interface AwaitedReference {
  readonly pointer: string;
  readonly urn: string;
}

export interface Admission<Status> {
  readonly references?: readonly ResolvedReference[];
  /** What it goes on without until it is there. Only with declarative references. */
  readonly awaited?: readonly AwaitedReference[];
  /** True when nothing of it holds yet, since another has what it asks for. Only with declarative references. */
  readonly inTurn?: boolean;
  /** Merged into the stored status. */
  readonly status?: Partial<Status>;
  /**
   * `active`: nothing is left to do, so that creating and updating pass at once. `creating`: a reconcile must finish it.
   */
  readonly outcome: 'active' | 'creating';
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
}

/** Who asks. */
export interface Subject {
  readonly name: string;
  /** True for the operator of the control plane: may do everything in their tenants, and change topology. */
  readonly operator: boolean;
  readonly tenants: readonly string[] | 'all';
  /** Further names that role assignments may mean them by, such as their groups. */
  readonly subs?: readonly string[];
  /** Roles that the token itself gives, in all its tenants. */
  readonly roles?: readonly string[];
  /** Nothing beyond this, whatever they are allowed. */
  readonly within?: RoleScope;
  readonly remote: string;
}
