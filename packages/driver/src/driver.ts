import type { BackupsFacet } from './facets/backups.js';
import type { BlockStoragesFacet } from './facets/block-storages.js';
import type { DisksFacet } from './facets/disks.js';
import type { HostsFacet } from './facets/hosts.js';
import type { ImagesFacet } from './facets/images.js';
import type { InstancesFacet } from './facets/instances.js';
import type { NetworksFacet } from './facets/networks.js';
import type { SecurityGroupsFacet } from './facets/security-groups.js';
import type { SnapshotsFacet } from './facets/snapshots.js';
import type { StreamsFacet } from './facets/streams.js';

/** One provider technology. A driver is data + `connect`; vendor words never leave its folder. */
export interface Driver<Config> {
  readonly name: string;
  /** One line for the support matrix. */
  readonly summary: string;
  /** Facets that none of its sites has, each with the reason. Every other facet is there at every site. */
  readonly lacks: Partial<Readonly<Record<FacetName, string>>>;
  /** What its accounts and sites are told beside their driver. Absent: nothing, and they have no credentials. */
  readonly access?: AccessRules;
  /** Checks an account's configuration (`SiteConfiguration`); raises `validation` with pointers. */
  parse(input: unknown): Config;
  connect(config: Config): Promise<Connection>;
}

/** What a driver is given to connect with, before it has looked at it. */
export interface SiteConfiguration {
  readonly site: string;
  /** Of the account, with those of the site over them. */
  readonly settings: Settings;
  /** Absent: nobody has given any. */
  readonly credentials?: Settings;
}

export type Settings = Readonly<Record<string, string>>;

/** All raise `validation`, with pointers into what they are given, and say how to mend it; none tells a credential's value. */
export interface AccessRules {
  /** Settings that everybody may read. */
  checkAccount(settings: Settings): void;
  checkSite(settings: Settings): void;
  checkCredentials(credentials: Settings): void;
}

/** One connected site of an account. A missing facet is the honest "cannot". */
export interface Connection {
  readonly instances?: InstancesFacet;
  readonly blockStorages?: BlockStoragesFacet;
  readonly images?: ImagesFacet;
  readonly networks?: NetworksFacet;
  readonly securityGroups?: SecurityGroupsFacet;
  readonly disks?: DisksFacet;
  readonly hosts?: HostsFacet;
  readonly streams?: StreamsFacet;
  readonly backups?: BackupsFacet;
  readonly snapshots?: SnapshotsFacet;
  readonly capabilities: Capabilities;
  probe(): Promise<{ readonly healthy: boolean; readonly reason?: string }>;
  close(): Promise<void>;
}

export const facetNames = [
  'instances',
  'blockStorages',
  'images',
  'networks',
  'securityGroups',
  'disks',
  'hosts',
  'streams',
  'backups',
  'snapshots',
] as const;
export type FacetName = (typeof facetNames)[number];

/** Finer limits, as facts that placement and the migration planner read. Units are in the names. */
export interface Capabilities {
  /** How long after a lost reply an object may take to become findable. */
  readonly settleSeconds: number;
  readonly maxVolumesPerInstance: number;
  readonly maxNicsPerInstance: number;
  readonly firmwares: readonly ('BIOS' | 'UEFI')[];
  readonly migrationModes: readonly ('live' | 'warm' | 'cold')[];
  /** Whether run permits are enforced at the site itself. */
  readonly enforcesPermits: boolean;
}
