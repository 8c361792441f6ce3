import { type InstanceSpec, type instanceSku, Problem } from '@virt8ra/contract';
import type { InstanceRealizationStatus, Observation } from '@virt8ra/driver';
import type { Static } from 'typebox';
import { claimOfResource, claimOnHost, shrinkClaim } from '../../capacity/claims.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { capacityOf } from './candidates.js';
import type { InstanceStatus } from './status.js';

type Sku = Static<typeof instanceSku.spec>;

/**
 * Claims what another SKU needs where the instance is, before it is promised. Until its guest has really become smaller it keeps what it has: the
 * larger of both is claimed. Raises `exhausted` when its host has no room for it, `conflict` while it is being moved, `unavailable`
 * when its site cannot say how large the host is.
 */
export async function admitResize(
  context: KindContext,
  tx: StoreTransaction,
  resource: StoredResource<InstanceSpec, InstanceStatus>,
  sku: Sku,
): Promise<void> {
  const name = resource.address.name;
  const runs = await context.runner.list({ subject: `${resource.kind}/${resource.uid}`, live: true });
  if (runs.length > 0) throw new Problem('conflict', `instance ${name} is being moved; change its SKU afterwards`);
  const held = await claimOfResource(tx.client, resource.uid);
  if (held === undefined) return;
  const { site, host } = held;
  const hosts = (await (await context.sites.connectionOf(site)).hosts?.list()) ?? [];
  const inventory = hosts.find((each) => each.host === host)?.inventory;
  if (inventory === undefined)
    throw new Problem('unavailable', `it is not known how large host ${host} is; try again when it is connected`);
  const wanted = {
    ...held,
    vCPU: Math.max(held.vCPU, sku.vCPU),
    memoryMiB: Math.max(held.memoryMiB, sku.ram * 1024),
  };
  try {
    await claimOnHost(tx.client, host, capacityOf(inventory), [wanted]);
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'exhausted') throw error;
    throw new Problem(
      'exhausted',
      `host ${host} has no room for ${sku.vCPU} vCPU and ${sku.ram} GiB of memory; nothing was changed. Move it first: virt8ra migrate ${name} --to SITE`,
      { sources: [{ pointer: '/spec/skuRef' }], facts: error.facts },
    );
  }
}

/** Gives back what a guest of an earlier size held, once no such guest runs. */
export async function settleSize(
  context: KindContext,
  resource: StoredResource<InstanceSpec>,
  sku: Sku,
  seen: Observation<InstanceRealizationStatus>,
): Promise<void> {
  if (seen.type !== 'present') return;
  const { activity, differences = [], trouble } = seen.status;
  const fits = activity === 'stopped' || (activity === 'running' && differences.length === 0 && trouble === undefined);
  if (!fits) return;
  await context.store.transaction(async (tx) => await shrinkClaim(tx.client, resource.uid, { vCPU: sku.vCPU, memoryMiB: sku.ram * 1024 }));
}
