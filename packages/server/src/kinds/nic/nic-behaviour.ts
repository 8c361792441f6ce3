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
  subnet,
  urnFromAddress,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import { rangesOf } from '../network/index.js';
import { assignAddresses, freeNic } from './ipam.js';
import { macOf } from './mac.js';

export interface NicStatus {
  addresses?: string[];
  macAddress?: string;
  attachedTo?: Reference;
}

export const subnetPointer = '/spec/subnetRef';
/** Not in the specification: kept so that a network finds its NICs without its subnets. */
export const networkPointer = '/spec/subnetRef#network';

export const nicBehaviour: KindBehaviour<NicSpec, NicStatus> = {
  kind: nic,
  admitPut: admitNic,
  async admitDelete(tx, { uid, address }) {
    const user = await userOf(tx, uid);
    if (user !== undefined) {
      throw new Problem('conflict', `NIC ${address.name} is used by instance ${user.address.name}; delete the instance first`);
    }
    const subnetUid = (await tx.referencesOf(uid)).find(({ pointer }) => pointer === subnetPointer)?.uid;
    if (subnetUid !== undefined) await freeNic(tx.client, subnetUid, urnFromAddress(nic, address));
  },
  async present(reader, resources) {
    return await Promise.all(
      resources.map(async ({ uid }) => {
        const [user] = await reader.usersOf(uid, instance);
        return user === undefined ? {} : { attachedTo: referenceTo(instance, user.address) };
      }),
    );
  },
};

async function admitNic(tx: StoreTransaction, request: PutRequest<NicSpec, NicStatus>): Promise<Admission<NicStatus>> {
  const { address, next, previous } = request;
  const { spec } = next;
  refuseUnrealised(spec);
  const { name, ...within } = address;
  const { target, reference } = await tx.resolve<SubnetSpec>(subnet, spec.subnetRef, within, subnetPointer);
  assertSameWorkspace(within.workspace, target);
  const { network: inNetwork = '', name: subnetName, ...beside } = target.address;
  const parent = await tx.resolve(network, `networks/${inNetwork}`, beside, subnetPointer);
  const references: ResolvedReference[] = [reference, { ...parent.reference, pointer: networkPointer }];
  if (spec.skuRef !== undefined) references.push((await tx.resolve(networkSku, spec.skuRef, within, '/spec/skuRef')).reference);
  const urn = urnFromAddress(nic, address);
  const space = { uid: target.uid, name: subnetName, ranges: rangesOf(target.spec.cidr, '/spec/cidr') };
  const addresses = [...(await assignAddresses(tx.client, space, urn, spec.addresses))];
  if (previous !== undefined && JSON.stringify(addresses) !== JSON.stringify(previous.status.addresses)) {
    const user = await userOf(tx, previous.uid);
    if (user !== undefined) {
      throw new Problem('conflict', `NIC ${name} is used by instance ${user.address.name}, whose guest keeps the addresses it was given`, {
        sources: [{ pointer: '/spec/addresses' }],
      });
    }
  }
  return { references, status: { addresses, macAddress: await macOf(tx.client, urn) }, outcome: 'active' };
}

function refuseUnrealised({ publicIpRefs = [], securityGroupRefs = [] }: NicSpec): void {
  const refuse = (what: string, pointer: string): never => {
    throw new Problem('unsupported', `${what} are not realised here yet; leave them out`, { sources: [{ pointer }] });
  };
  if (publicIpRefs.length > 0) refuse('public IPs', '/spec/publicIpRefs');
  if (securityGroupRefs.length > 0) refuse('security groups', '/spec/securityGroupRefs');
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
