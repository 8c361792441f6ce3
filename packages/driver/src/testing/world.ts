import type { Connection, FacetName } from '../driver.js';
import type { Facet } from '../observation.js';

/** A provider (most often a simulator) and a connection to one site of it, as the suite needs them. */
export interface ConformanceWorld {
  readonly connection: Connection;
  /** One more connection to the same site, with nothing remembered of the first. The suite closes it. */
  reconnect(): Promise<Connection>;
  readonly cases: readonly FacetCase[];
  /** The provider cannot be reached from now on; resolves when the driver has had the time to notice. */
  cutOff(): Promise<void>;
  restore(): Promise<void>;
  /** The next create is done by the provider and its reply is lost: the driver's call raises. Without it D4 needs a gap. */
  loseNextReply?(): void;
  /** Texts that no error may hold, such as passwords and user data of the specs. */
  readonly secrets: readonly string[];
  /** How long something that must come true may take. Default: 10. */
  readonly patienceSeconds?: number;
  close(): Promise<void>;
}

/** One facet with things to ask of it. */
export interface FacetCase {
  readonly facet: FacetName;
  open(connection: Connection): Facet<unknown, unknown> | undefined;
  /** Something ordinary, the same at every call. */
  readonly spec: unknown;
  /** The same thing changed in a way the driver can follow. */
  readonly changed?: unknown;
  /** What the driver cannot do. */
  readonly refused: readonly { readonly title: string; readonly spec: unknown }[];
}

/** A case with its types checked; the suite itself knows none of them. */
export function facetCase<Spec, Status>(of: {
  readonly facet: FacetName;
  readonly open: (connection: Connection) => Facet<Spec, Status> | undefined;
  readonly spec: Spec;
  readonly changed?: Spec;
  readonly refused?: readonly { readonly title: string; readonly spec: Spec }[];
}): FacetCase {
  return {
    facet: of.facet,
    open: (connection) => of.open(connection) as Facet<unknown, unknown> | undefined,
    spec: of.spec,
    ...(of.changed === undefined ? {} : { changed: of.changed }),
    refused: of.refused ?? [],
  };
}
