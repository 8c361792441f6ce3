import type { Static, TSchema } from 'typebox';
import type { Resource } from './shape.js';

/**
 * A kind is one noun of the API. Routes, validation, paging, CLI nouns and the served description are derived from this value;
 * behaviour lives in the server's folder of the same name.
 */
export interface Kind<Spec extends TSchema = TSchema, Status extends TSchema = TSchema> {
  /** `metadata.kind`, such as `block-storage`. */
  readonly kind: string;
  /** API provider, such as `seca.storage`. */
  readonly provider: string;
  readonly version: 'v1' | 'v1beta1';
  /** Path segment, such as `block-storages`. */
  readonly collection: string;
  readonly scope: Scope;
  /** Whether `metadata.region` is set. */
  readonly regional: boolean;
  readonly spec: Spec;
  readonly status: Status | undefined;
  /** False: made by the control plane only; PUT and DELETE do not exist. */
  readonly writable: boolean;
  /** POST verbs. */
  readonly actions: readonly string[];
  /** Shapes of what may be sent with an action; the others take nothing. An empty body counts as `{}`. */
  readonly actionBodies: Readonly<Record<string, TSchema>>;
  /** Shapes of what actions answer, with 200; the others answer 202 without a body. */
  readonly answers: Readonly<Record<string, TSchema>>;
  /** JSON pointers into `spec` that a PUT may not change. */
  readonly immutable: readonly string[];
  /** Words the CLI accepts for this kind besides `kind` and `collection`. */
  readonly aliases: readonly string[];
  /** One line for help and the API description. */
  readonly summary: string;
}

export type SpecOf<K extends Kind> = Static<K['spec']>;
export type StatusOf<K extends Kind> = Static<NonNullable<K['status']>>;
/** A resource of a kind, typed by the kind's shapes. */
export type ResourceOf<K extends Kind> = Resource<SpecOf<K>, StatusOf<K>>;

/** What a resource may lie in; the path has it as `{part}s/{name}`. */
export type PlacePart = 'tenant' | 'workspace' | 'network' | 'cluster';

/**
 * Which path the collection hangs under:
 * `global` `/{v}/{collection}` · `tenant` `/{v}/tenants/{t}/…` · `workspace` `…/workspaces/{w}/…` · `network` `…/networks/{n}/…` ·
 * `cluster` `…/clusters/{c}/…`
 */
export type Scope = 'global' | PlacePart;

/** The parts above a name, outermost first. Every path, URN and column of a place follows from this table. */
export const partsOfScope: Readonly<Record<Scope, readonly PlacePart[]>> = {
  global: [],
  tenant: ['tenant'],
  workspace: ['tenant', 'workspace'],
  network: ['tenant', 'workspace', 'network'],
  cluster: ['tenant', 'workspace', 'cluster'],
};

type Optionals = 'actions' | 'actionBodies' | 'answers' | 'immutable' | 'aliases' | 'writable' | 'regional';

export function defineKind<Spec extends TSchema, Status extends TSchema>(
  kind: Omit<Kind<Spec, Status>, Optionals> & Partial<Pick<Kind<Spec, Status>, Optionals>>,
): Kind<Spec, Status> {
  return { actions: [], actionBodies: {}, answers: {}, immutable: [], aliases: [], writable: true, regional: true, ...kind };
}
