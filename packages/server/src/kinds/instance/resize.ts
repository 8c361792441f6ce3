import { type InstanceSpec, Problem } from '@virt8ra/contract';
import type { InstanceRealizationStatus, Observation } from '@virt8ra/driver';
import { claimedOn, claimOfResource, claimOnHost, keepDevices, shrinkClaim } from '../../capacity/claims.js';
import { chooseDevices, devicesFor, joinDevices, sayNeed } from '../../placement/devices.js';
import { jsonEqual } from '../../resources/json-equal.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { assertNoWayBack } from '../moving.js';
import { capacityOf } from './candidates.js';
import { type InstanceSize, roomOf } from './size.js';
import type { InstanceStatus } from './status.js';

/**
 * Claims what another SKU needs where the instance is, before it is promised. Until its guest has really become smaller it keeps what it has: the
 * larger of both is claimed. Raises `exhausted` when its host has no room for it, `conflict` while it is being moved, `unavailable`
 * when its site cannot say how large the host is.
 */
export async function admitResize(
  context: KindContext,
  tx: StoreTransaction,
  resource: StoredResource<InstanceSpec, InstanceStatus>,
  size: InstanceSize,
): Promise<void> {
  const name = resource.address.name;
  const runs = await context.runner.list({ subject: `${resource.kind}/${resource.uid}`, live: true });
  if (runs.length > 0) throw new Problem('conflict', `instance ${name} is being moved; change its SKU afterwards`);
  await assertNoWayBack(tx, resource.uid, 'change its SKU');
  const held = await claimOfResource(tx.client, resource.uid);
  if (held === undefined) return;
  const { site, host } = held;
  const hosts = (await (await context.sites.connectionOf(site)).hosts?.list()) ?? [];
  const inventory = hosts.find((each) => each.host === host)?.inventory;
  if (inventory === undefined)
    throw new Problem('unavailable', `it is not known how large host ${host} is; try again when it is connected`);
  const room = roomOf(size);
  const capacity = capacityOf(inventory);
  const taken = (await claimedOn(tx.client, [host])).get(host)?.deviceCounts ?? {};
  const choice = chooseDevices(host, capacity.devices ?? [], taken, size.devices ?? [], held.devices);
  if (choice.type === 'lacking')
    throw new Problem(
      'exhausted',
      `host ${host} cannot give it that: ${choice.reason} (${choice.mend}); nothing was changed. ${moveFirst(name)}`,
      {
        sources: [{ pointer: '/spec/skuRef' }],
      },
    );
  const wanted = {
    ...held,
    vCPU: Math.max(held.vCPU, room.vCPU),
    memoryMiB: Math.max(held.memoryMiB, room.memoryMiB),
    dedicatedCPU: Math.max(held.dedicatedCPU, room.dedicatedCPU),
    huge2Mi: Math.max(held.huge2Mi, room.huge2Mi),
    huge1Gi: Math.max(held.huge1Gi, room.huge1Gi),
    devices: joinDevices(held.devices, choice.devices),
  };
  try {
    await claimOnHost(tx.client, host, capacity, [wanted]);
  } catch (error) {
    if (!(error instanceof Problem) || error.kind !== 'exhausted') throw error;
    throw new Problem('exhausted', `host ${host} has no room for ${sayRoom(size)}; nothing was changed. ${moveFirst(name)}`, {
      sources: [{ pointer: '/spec/skuRef' }],
      facts: error.facts,
    });
  }
}

/**
 * Gives back what a guest of an earlier size held, once no such guest runs. `size` is what `resource` named when it was read: where its owner has named another
 * since, and so claimed it, nothing is given back.
 */
export async function settleSize(
  context: Pick<KindContext, 'store'>,
  resource: StoredResource<InstanceSpec>,
  size: InstanceSize,
  seen: Observation<InstanceRealizationStatus>,
): Promise<void> {
  if (seen.type !== 'present') return;
  const { activity, differences = [], trouble } = seen.status;
  const fits = activity === 'stopped' || (activity === 'running' && differences.length === 0 && trouble === undefined);
  if (!fits) return;
  await context.store.transaction(async (tx) => {
    const current = await tx.lock<InstanceSpec, InstanceStatus>(resource.uid);
    if (current === undefined || !jsonEqual(current.spec.skuRef, resource.spec.skuRef)) return;
    await shrinkClaim(tx.client, resource.uid, roomOf(size));
    const held = (await claimOfResource(tx.client, resource.uid))?.devices ?? [];
    if (held.length > 0) await keepDevices(tx.client, resource.uid, devicesFor(held, size.devices ?? []));
  });
}

function moveFirst(name: string): string {
  return `Move it first: virt8ra migrate ${name} --to SITE`;
}

function sayRoom({ vCPU, memoryMiB, cpuPolicy, hugePages, devices = [] }: InstanceSize): string {
  const processors = cpuPolicy === 'dedicated' ? `${vCPU} dedicated CPU${vCPU === 1 ? '' : 's'}` : `${vCPU} vCPU`;
  return `${processors} and ${memoryMiB / 1024} GiB of memory${hugePages === undefined ? '' : ` in pages of ${hugePages === '2Mi' ? '2 MiB' : '1 GiB'}`}${devices.map((each) => `, ${sayNeed(each)}`).join('')}`;
}
