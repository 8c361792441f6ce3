import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Name, statusShape } from '../shape.js';

/**
 * What a quota bounds. `ram` counts GiB, as instance SKUs do; `storageGB` the sizes of block storages in GB (10⁹ bytes). `snapshotGB` and `backupGB`
 * count the sizes that their block storages had then: the most that they may take, known before they are made.
 */
export const quotaUnits = [
  'instances',
  'vCPU',
  'ram',
  'blockStorages',
  'storageGB',
  'snapshots',
  'snapshotGB',
  'backups',
  'backupGB',
  'networks',
  'nics',
  'publicIps',
] as const;
export type QuotaUnit = (typeof quotaUnits)[number];

const Amount = Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }));
const amounts = {
  instances: Amount,
  vCPU: Amount,
  ram: Amount,
  blockStorages: Amount,
  storageGB: Amount,
  snapshots: Amount,
  snapshotGB: Amount,
  backups: Amount,
  backupGB: Amount,
  networks: Amount,
  nics: Amount,
  publicIps: Amount,
} satisfies Record<QuotaUnit, unknown>;

/**
 * Bounds what a tenant, or one of its workspaces, may have. Every quota that fits counts. What is wanted counts from its PUT until it is really
 * gone; what there was before a quota stays, but does not grow. Only the operator sets one.
 */
export const quota = defineKind({
  kind: 'quota',
  provider: 'virt8ra.quota',
  version: 'v1beta1',
  collection: 'quotas',
  scope: 'tenant',
  immutable: ['/workspace'],
  summary: 'how much a tenant, or a workspace of it, may have',
  spec: Type.Object(
    {
      /** Absent: the tenant as a whole. */
      workspace: Type.Optional(Name),
      limits: Type.Object(amounts, { additionalProperties: false, minProperties: 1 }),
    },
    { additionalProperties: false },
  ),
  status: statusShape({ used: Type.Optional(Type.Object(amounts)) }),
});
export type QuotaSpec = Static<typeof quota.spec>;
