/** What a resource used in one hour. */
export interface UsageRecord {
  /** When the hour begins. */
  readonly hour: string;
  readonly tenant: string;
  readonly workspace: string;
  readonly kind: 'instance' | 'block-storage' | 'public-ip';
  readonly name: string;
  readonly uid: string;
  /** Seconds in which a guest was seen to run, or in which a block storage was at a host and a public IP was held. */
  readonly seconds: number;
  /** Of instances: processors and GiB of memory, each times the seconds. */
  readonly vCPUSeconds?: number;
  readonly ramSeconds?: number;
  /** Of block storages: GB (10⁹ bytes) of its size, times the seconds. */
  readonly storageGBSeconds?: number;
}

/** Titles of an export, in order. None of their values holds a comma or a quote: they are names, times and numbers. */
export const usageColumns = [
  'hour',
  'tenant',
  'workspace',
  'kind',
  'name',
  'uid',
  'seconds',
  'vCPUSeconds',
  'ramSeconds',
  'storageGBSeconds',
] as const satisfies readonly (keyof UsageRecord)[];
