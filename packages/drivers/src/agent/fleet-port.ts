import type { DesiredByType, HostInventory, HostObject, HostObjectType, ObservedByType } from '@virt8ra/contract';

/** What the driver needs of the fleet of agents. The control plane implements it; this driver never sees a socket or a table. */

/** Everything known of one object. Neither desired, going nor observed: it is positively not there. */
export interface HostObjectView<Type extends HostObjectType> {
  readonly desired: DesiredByType[Type] | undefined;
  /** No longer desired, and the host has not yet reported a whole state without it. */
  readonly going: boolean;
  /** The agent's newest report of it; `at` is when the agent saw it (RFC 3339). */
  readonly observed: { readonly object: ObservedByType[Type]; readonly at: string } | undefined;
  /** The report was made under the newest declaration of the object. */
  readonly current: boolean;
  /** When the agent reported last, whatever it was; undefined: never. */
  readonly reportedAt: string | undefined;
  /** Why nothing is known at the moment, such as a link that is down for too long; undefined: the host is heard. */
  readonly silence: string | undefined;
}

export interface AgentFleet {
  /**
   * Makes an object desired. `existing` says what holds when it is already: `keep` it as it is, `replace` it, or `require` it and replace it.
   * Raises `not-found` when the site has no such host, or (`require`) when the object is not desired; `conflict` when the key is taken on
   * another host; `unsupported` when agents cannot take such an object; `exhausted` when the host has as many objects as it may.
   */
  declare<Type extends HostObjectType>(
    site: string,
    object: { readonly host: string; readonly type: Type; readonly key: string; readonly desired: DesiredByType[Type] },
    existing: 'keep' | 'replace' | 'require',
  ): Promise<void>;
  /** Makes it no longer desired; silent when it is not. */
  withdraw(site: string, object: HostObject): Promise<void>;
  /** A host that is not of the site (any more) is silent. */
  look<Type extends HostObjectType>(site: string, object: HostObject & { readonly type: Type }): Promise<HostObjectView<Type>>;
  /** The object of that key on any host of the site, or on `host` alone. Raises `unavailable` when a host's state is not known well enough to deny it. */
  find(site: string, type: HostObjectType, key: string, host?: string): Promise<HostObject | undefined>;
  /** Every desired, going or observed object of the site, each once. */
  list(site: string, type: HostObjectType): AsyncIterable<HostObject>;
  hosts(site: string): Promise<readonly FleetHost[]>;
}

export interface FleetHost {
  readonly host: string;
  readonly connected: boolean;
  readonly observedAt: string | undefined;
  readonly inventory: HostInventory | undefined;
  readonly features: readonly string[];
}
