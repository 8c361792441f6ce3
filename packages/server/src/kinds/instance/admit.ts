import {
  type Address,
  addressFromReference,
  type BlockStorageSpec,
  blockStorage,
  type InstanceSpec,
  instance,
  instanceSku,
  type Kind,
  network,
  nic,
  Problem,
  type Reference,
  securityGroup,
  site,
  workspace,
} from '@virt8ra/contract';
import type { Static } from 'typebox';
import { jsonEqual } from '../../resources/json-equal.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { Admission, PutRequest } from '../behaviour.js';
import type { BlockStorageStatus } from '../block-storage/index.js';
import type { KindContext } from '../context.js';

import { assertHostNetworking } from '../host-networking.js';

import { assertNotMoving } from '../moving.js';

import { nicsForInstance } from '../nic/index.js';
import { assertNotReverting } from '../snapshotted.js';
import { admitAntiAffinity } from './anti-affinity.js';
import { admitDataVolumes } from './data-volumes.js';
import { guestCare } from './guest-care.js';
import { setInstancePower } from './power.js';
import { admitResize } from './resize.js';
import { sizeOf } from './size.js';
import { accessPorts } from './specification.js';
import type { InstanceStatus } from './status.js';

type BlockStorage = StoredResource<BlockStorageSpec, BlockStorageStatus>;

const groupPointer = '/spec/securityGroupRef';

/** Rules of an instance that need more than its shape. */
export async function admitInstance(
  context: KindContext,
  tx: StoreTransaction,
  request: PutRequest<InstanceSpec, InstanceStatus>,
): Promise<Admission<InstanceStatus>> {
  const { address, next, previous } = request;
  const { spec } = next;
  const within = {
    ...(address.tenant === undefined ? {} : { tenant: address.tenant }),
    ...(address.workspace === undefined ? {} : { workspace: address.workspace }),
  };
  accessPorts(next.extensions);
  initialPower(next.extensions);
  guestCare(next.extensions);
  await tx.resolve(workspace, `workspaces/${address.workspace ?? ''}`, within, '/metadata/workspace');
  if (spec.zone !== 'any' && (await tx.get(site, { name: spec.zone })) === undefined) {
    throw new Problem('validation', `there is no site ${spec.zone}; virt8ra sites lists them, any lets placement choose`, {
      sources: [{ pointer: '/spec/zone' }],
    });
  }
  const sku = await tx.resolve<Static<typeof instanceSku.spec>>(instanceSku, spec.skuRef, within, '/spec/skuRef');
  const references: ResolvedReference[] = [sku.reference];
  const volumes = [
    { given: spec.bootVolume.deviceRef, pointer: '/spec/bootVolume/deviceRef' },
    ...(spec.dataVolumes ?? []).map(({ deviceRef }, index) => ({ given: deviceRef, pointer: `/spec/dataVolumes/${index}/deviceRef` })),
  ];
  const places: Place[] = [];
  const targets: BlockStorage[] = [];
  for (const { given, pointer } of volumes) {
    const { target, reference } = await take<BlockStorageSpec, BlockStorageStatus>(tx, blockStorage, given, within, pointer);
    await assertFree(tx, target, previous, pointer);
    if (previous === undefined) await assertNotReverting(tx, [target.uid]);
    if (references.some(({ uid }) => uid === reference.uid))
      throw new Problem('validation', 'a block storage is named twice', { sources: [{ pointer }] });
    references.push(reference);
    targets.push(target);
    if (target.status.placement !== undefined)
      places.push({ site: target.status.placement.site, what: `block storage ${target.address.name}`, pointer });
  }
  const nics = [
    ...(spec.primaryNicRef === undefined ? [] : [{ given: spec.primaryNicRef, pointer: '/spec/primaryNicRef' }]),
    ...(spec.additionalNicRefs ?? []).map((given, index) => ({ given, pointer: `/spec/additionalNicRefs/${index}` })),
  ];
  for (const { given, pointer } of nics) {
    const { target, reference } = await take(tx, nic, given, within, pointer);
    await assertFree(tx, target, previous, pointer);
    if (references.some(({ uid }) => uid === reference.uid))
      throw new Problem('validation', 'a NIC is named twice', { sources: [{ pointer }] });
    if ((target.status as { readonly macAddress?: string }).macAddress === undefined)
      throw new Problem('conflict', `NIC ${target.address.name} waits for its addresses`, { sources: [{ pointer }] });
    references.push(reference);
    const [on] = await nicsForInstance(tx, [target.uid]);
    for (const { name, site: at } of on?.publicIps ?? []) places.push({ site: at, what: `public IP ${name}`, pointer });
  }
  const group = spec.securityGroupRef === undefined ? undefined : await takeGroup(tx, spec.securityGroupRef, within);
  if (group !== undefined) references.push(group);
  await tellNetworking(tx, previous, references);
  if (previous === undefined) assertOneSite(places, spec.zone);
  if (previous !== undefined) {
    assertZoneHolds(previous, spec.zone);
    assertDevicesKept(previous.spec, spec);
    await admitAntiAffinity(tx, previous, spec);
    const before = (await tx.referencesOf(previous.uid)).find(({ pointer }) => pointer === '/spec/skuRef');
    if (group !== undefined && previous.spec.securityGroupRef === undefined && nics.length > 0)
      await assertHostNetworking(context, tx, previous, 'security-groups', groupPointer);
    if (before?.uid !== sku.reference.uid) await admitResize(context, tx, previous, sizeOf(sku.target));
    if (!jsonEqual(previous.spec.dataVolumes ?? [], spec.dataVolumes ?? [])) {
      await assertNotMoving(context, tx, previous.uid, 'change its data volumes');
      await admitDataVolumes(context, tx, previous, targets.slice(1));
    }
    return { references, outcome: 'creating' };
  }
  return { references, status: { powerState: 'off' }, outcome: 'creating', type: 'Placed', reason: 'WaitingForPlacement' };
}

/** The extension `virt8ra.power` (on or off) says whether a new instance starts by itself; absent: off, as SECA has it. */
export function initialPower(extensions: Readonly<Record<string, string>> | undefined): 'on' | 'off' {
  const given = extensions?.['virt8ra.power'];
  if (given === undefined || given === 'off') return 'off';
  if (given === 'on') return 'on';
  throw new Problem('validation', 'virt8ra.power is on or off', { sources: [{ pointer: '/extensions/virt8ra.power' }] });
}

/**
 * Resolves what only one instance may have. Sharing its row is not enough: two that ask at once would both find it free. It is locked
 * before it is shared, since raising a share to a lock makes those two wait for each other.
 */
async function take<Spec, Status>(
  tx: StoreTransaction,
  kind: Kind,
  given: Reference,
  within: Omit<Address, 'name'>,
  pointer: string,
): ReturnType<typeof tx.resolve<Spec, Status>> {
  await tx.lockAt(kind, addressFromReference(kind, given, within, pointer));
  return await tx.resolve<Spec, Status>(kind, given, within, pointer);
}

async function assertFree(
  tx: StoreTransaction,
  target: StoredResource,
  previous: StoredResource | undefined,
  pointer: string,
): Promise<void> {
  const user = (await tx.usersOf(target.uid, instance)).find(({ uid }) => uid !== previous?.uid);
  if (user !== undefined) {
    throw new Problem('conflict', `${target.kind} ${target.address.name} is attached to instance ${user.address.name}`, {
      sources: [{ pointer }],
    });
  }
}

/** Something of the instance that is bound to a site. */
interface Place {
  readonly site: string;
  readonly what: string;
  readonly pointer: string;
}

function assertOneSite(places: readonly Place[], zone: string): void {
  const [first] = places;
  if (first === undefined) return;
  const other = places.find(({ site: at }) => at !== first.site);
  if (other !== undefined) {
    throw new Problem('conflict', `${first.what} is at ${first.site} and ${other.what} at ${other.site}; they must be at one site`, {
      sources: [{ pointer: other.pointer }],
    });
  }
  if (zone === 'any' || zone === first.site) return;
  const mend = first.what.startsWith('public IP')
    ? `use zone ${first.site} or any, or a public IP of ${zone}`
    : `start the instance there and move it with: virt8ra migrate NAME --to ${zone}`;
  throw new Problem('conflict', `${first.what} is at ${first.site}; ${mend}`, { sources: [{ pointer: '/spec/zone' }] });
}

async function takeGroup(tx: StoreTransaction, given: Reference, within: Omit<Address, 'name'>): Promise<ResolvedReference> {
  const pointer = groupPointer;
  const { target, reference } = await tx.resolve(securityGroup, given, within, pointer);
  if (target.address.workspace === within.workspace) return reference;
  throw new Problem('validation', `security group ${target.address.name} is of another workspace`, { sources: [{ pointer }] });
}

/** Wakes what knows its NICs: the networks that name it, and the group that they come into or leave. */
async function tellNetworking(
  tx: StoreTransaction,
  previous: StoredResource | undefined,
  now: readonly ResolvedReference[],
): Promise<void> {
  const groupAt = groupPointer;
  const before = previous === undefined ? undefined : (await tx.referencesOf(previous.uid)).find(({ pointer }) => pointer === groupAt)?.uid;
  const after = now.find(({ pointer }) => pointer === groupAt)?.uid;
  if (before !== after) for (const uid of [before, after]) if (uid !== undefined) await tx.nudge(securityGroup.kind, uid);
  if (previous !== undefined) return;
  const nicUids = now.filter(({ pointer }) => /NicRefs?(\/|$)/.test(pointer)).map(({ uid }) => uid);
  for (const uid of new Set((await nicsForInstance(tx, nicUids)).map(({ networkUid }) => networkUid))) await tx.nudge(network.kind, uid);
}

/** Where the zone may change at all, it may say where the instance is; taking it there is a migration. */
function assertZoneHolds({ address, spec, status }: StoredResource<InstanceSpec, InstanceStatus>, zone: string): void {
  const { placement } = status;
  if (zone === spec.zone || zone === 'any' || placement === undefined || placement.site === zone) return;
  throw new Problem(
    'validation',
    `instance ${address.name} is at ${placement.site}; move it with: virt8ra migrate ${address.name} --to ${zone}`,
    {
      sources: [{ pointer: '/spec/zone' }],
    },
  );
}

/** What a guest is made with stays; its data volumes may come and go. */
function assertDevicesKept(before: InstanceSpec, after: InstanceSpec): void {
  for (const field of ['primaryNicRef', 'additionalNicRefs', 'sshKeys', 'userData'] as const) {
    if (JSON.stringify(before[field]) !== JSON.stringify(after[field])) {
      throw new Problem(
        'unsupported',
        `${field} of an existing instance cannot be changed yet; delete and create it on the same block storages`,
        {
          sources: [{ pointer: `/spec/${field}` }],
        },
      );
    }
  }
}

/** Raises `conflict` when the power action makes no sense now. */
export async function actOnPower(
  tx: StoreTransaction,
  resource: StoredResource<InstanceSpec, InstanceStatus>,
  action: 'start' | 'stop' | 'restart',
  wanted: 'on' | 'off',
): Promise<void> {
  const name = resource.address.name;
  if (resource.deletedAt !== undefined) throw new Problem('conflict', `instance ${name} is being deleted`);
  if (action === 'start' && wanted === 'on') throw new Problem('conflict', `instance ${name} is on already`);
  if (action !== 'start' && wanted === 'off')
    throw new Problem('conflict', `instance ${name} is off; start it with: virt8ra start ${name}`);
  if (action === 'start') {
    const disks = (await tx.referencesOf(resource.uid)).filter(({ pointer }) => pointer.endsWith('/deviceRef'));
    await assertNotReverting(
      tx,
      disks.map(({ uid }) => uid),
    );
  }
  await setInstancePower(tx.client, resource.uid, action === 'stop' ? 'off' : 'on', action === 'restart');
  await tx.setStatus(resource.uid, {}, { state: 'updating', type: 'Power', reason: `Asked:${action}` });
  await tx.nudge(resource.kind, resource.uid);
}
