import { type Static, Type } from 'typebox';
import { oneOf } from './shape.js';

const Amount = Type.Number({ minimum: 0 });

/** What a resource used in one hour. */
export const UsageRecord = Type.Object({
  /** When the hour begins. */
  hour: Type.String(),
  tenant: Type.String(),
  workspace: Type.String(),
  kind: oneOf(['instance', 'block-storage', 'public-ip']),
  name: Type.String(),
  uid: Type.String(),
  /** Seconds in which a guest was seen to run, or in which a block storage was at a host and a public IP was held. */
  seconds: Amount,
  /** Of instances: processors and GiB of memory, each times the seconds. */
  vCPUSeconds: Type.Optional(Amount),
  ramSeconds: Type.Optional(Amount),
  /** Of block storages: GB (10⁹ bytes) of its size, times the seconds. */
  storageGBSeconds: Type.Optional(Amount),
});
export type UsageRecord = Readonly<Static<typeof UsageRecord>>;

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
