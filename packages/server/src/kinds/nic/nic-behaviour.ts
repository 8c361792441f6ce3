import {
  type Id,
  instance,
  type NicSpec,
  network,
  networkSku,
  nic,
  Problem,
  type Reference,
  referenceTo,
  type SubnetSpec,
  securityGroup,
  subnet,
  urnFromAddress,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { assertHostNetworking } from '../host-networking.js';
import { gatewaysOf, networkPointer } from '../network/index.js';
import { namesOfUsers } from '../users.js';
import { assignAddresses, freeNic } from './ipam.js';
import { macOf } from './mac.js';
import { groupsOf, groupsPointer, takeSecurityGroups } from './nic-groups.js';
import { subnetPointer } from './nic-pointers.js';
import { leadingPublicIps, type Placed, takePublicIps } from './nic-public-ips.js';

export interface NicStatus {
  addresses?: string[];
  macAddress?: string;
  publicIpRefs?: readonly Reference[] | undefined;
  attachedTo?: Reference;
}

export function createNicBehaviour(context: Pick<KindContext, 'sites' | 'declarative'>): KindBehaviour<NicSpec, NicStatus> {
  return {
    kind: nic,
    admitPut: async (tx, request) => await admitNic(context, tx, request),
    async admitDelete(tx, { uid, address }) {
      const user = await userOf(tx, uid);
      if (user !== undefined) {
        throw new Problem('conflict', `NIC ${address.name} is used by instance ${user.address.name}; delete the instance first`);
      }
      const routing = await tx.usersOf(uid);
      if (routing.length > 0)
        throw new Problem('conflict', `NIC ${address.name} is used by ${namesOfUsers(routing)}; take it out of their routes first`);
      const references = await tx.referencesOf(uid);
      for (const group of groupsOf(references)) await tx.nudge(securityGroup.kind, group);
      const subnetUid = references.find(({ pointer }) => pointer === subnetPointer)?.uid;
      if (subnetUid !== undefined) await freeNic(tx.client, subnetUid, urnFromAddress(nic, address));
    },
    async present(reader, resources) {
      return await Promise.all(
        resources.map(async (resource) => {
          const [user] = await reader.usersOf(resource.uid, instance);
          const publicIpRefs = await leadingPublicIps(reader, resource, user as StoredResource<unknown, Placed> | undefined);
          return {
            ...(user === undefined ? {} : { attachedTo: referenceTo(instance, user.address) }),
            ...(publicIpRefs === undefined ? {} : { publicIpRefs }),
          };
        }),
      );
    },
  };
}

async function admitNic(
  context: Pick<KindContext, 'sites' | 'declarative'>,
  tx: StoreTransaction,
  request: PutRequest<NicSpec, NicStatus>,
): Promise<Admission<NicStatus>> {
  const { address, next, previous } = request;
  const { spec } = next;
  const { name, ...within } = address;
  const { target, reference } = await tx.resolve<SubnetSpec>(subnet, spec.subnetRef, within, subnetPointer);
  assertSameWorkspace(within.workspace, target);
  if ((target.status as { readonly cidr?: unknown }).cidr === undefined)
    throw new Problem('conflict', `subnet ${target.address.name} waits for its range`, { sources: [{ pointer: subnetPointer }] });
  const { network: inNetwork = '', name: subnetName, ...beside } = target.address;
  const parent = await tx.resolve(network, `networks/${inNetwork}`, beside, subnetPointer);
  const references: ResolvedReference[] = [reference, { ...parent.reference, pointer: networkPointer }];
  if (spec.skuRef !== undefined) references.push((await tx.resolve(networkSku, spec.skuRef, within, '/spec/skuRef')).reference);
  const urn = urnFromAddress(nic, address);
  const space = { uid: target.uid, name: subnetName, ranges: gatewaysOf(target) };
  const addresses = [...(await assignAddresses(tx.client, space, urn, spec.addresses))];
  const user = previous === undefined ? undefined : ((await userOf(tx, previous.uid)) as StoredResource<unknown, Placed> | undefined);
  if (previous !== undefined && JSON.stringify(addresses) !== JSON.stringify(previous.status.addresses)) {
    if (user !== undefined) {
      throw new Problem('conflict', `NIC ${name} is used by instance ${user.address.name}, whose guest keeps the addresses it was given`, {
        sources: [{ pointer: '/spec/addresses' }],
      });
    }
  }
  const groups = await takeSecurityGroups(tx, spec, within);
  if (user !== undefined && groups.length > 0 && (previous?.spec.securityGroupRefs ?? []).length === 0)
    await assertHostNetworking(context, tx, user, 'security-groups', groupsPointer);
  if (user !== undefined && (spec.publicIpRefs ?? []).length > 0 && (previous?.spec.publicIpRefs ?? []).length === 0)
    await assertHostNetworking(context, tx, user, 'public-addresses', '/spec/publicIpRefs');
  const taken = await takePublicIps(tx, spec, within, { previous, user, addresses, ahead: context.declarative === true });
  references.push(...groups, ...taken.references);
  await tellChanged(tx, previous, user, { references, groups, addresses, network: parent.target.uid });
  return { references, awaited: taken.awaited, status: { addresses, macAddress: await macOf(tx.client, urn) }, outcome: 'active' };
}

/** Wakes those that know the NIC: its groups, of which it is a member; its network's names and routes; the instance that it is in. */
async function tellChanged(
  tx: StoreTransaction,
  previous: StoredResource<NicSpec, NicStatus> | undefined,
  user: StoredResource | undefined,
  now: {
    readonly references: readonly ResolvedReference[];
    readonly groups: readonly ResolvedReference[];
    readonly addresses: readonly string[];
    readonly network: Id<'resource'>;
  },
): Promise<void> {
  const before = previous === undefined ? [] : await tx.referencesOf(previous.uid);
  const moved = JSON.stringify(previous?.status.addresses) !== JSON.stringify(now.addresses);
  const groups = new Set([...groupsOf(before), ...now.groups.map(({ uid }) => uid)]);
  const said = (references: readonly { readonly pointer: string; readonly uid: string }[]): string =>
    JSON.stringify(references.map(({ pointer, uid }) => `${pointer} ${uid}`).toSorted());
  if (!moved && said(before) === said(now.references)) return;
  for (const group of groups) await tx.nudge(securityGroup.kind, group);
  if (previous !== undefined && moved) await tx.nudge(network.kind, now.network);
  if (user !== undefined) await tx.nudge(user.kind, user.uid);
}

function assertSameWorkspace(workspace: string | undefined, target: StoredResource): void {
  if (target.address.workspace === workspace) return;
  throw new Problem('validation', 'a NIC takes its addresses from a subnet of its own workspace', {
    sources: [{ pointer: subnetPointer }],
  });
}

async function userOf(tx: StoreTransaction, uid: Id<'resource'>): Promise<StoredResource | undefined> {
  return (await tx.usersOf(uid, instance))[0];
}
