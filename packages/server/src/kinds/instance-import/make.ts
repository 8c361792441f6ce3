import {
  type BlockStorageSpec,
  blockStorage,
  type ImageSpec,
  type InstanceImportPlan,
  type InstanceImportSpec,
  type InstanceSpec,
  image,
  instance,
  instanceImport,
  type NicSpec,
  nic,
  Problem,
  referenceTo,
  urnFromAddress,
} from '@virt8ra/contract';
import type { Artifact } from '../../artifacts/artifact.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour, Subject } from '../behaviour.js';
import { imageStatus } from '../image-import/index.js';
import { putAdmitted } from '../put-admitted.js';
import { storageSkuFor } from './plan.js';
import type { InstanceImportStatus } from './status.js';

/** By whose rules the parts of a machine are made. */
export interface MakingBehaviours {
  readonly blockStorage: KindBehaviour;
  readonly nic: KindBehaviour;
  readonly instance: KindBehaviour;
}

export type InstanceImport = StoredResource<InstanceImportSpec, InstanceImportStatus>;

/**
 * Makes images, block storages, NICs and the instance, in the caller's transaction: all or nothing. `artifacts` are the contents of the disks, by their places.
 * Raises what the rules of each kind raise.
 */
export async function makeMachine(
  tx: StoreTransaction,
  behaviours: MakingBehaviours,
  { uid, address, spec, labels, status }: InstanceImport,
  plan: InstanceImportPlan,
  artifacts: readonly (Artifact | undefined)[],
): Promise<{ readonly resource: string }> {
  const { tenant, workspace } = address;
  const place = { ...(tenant === undefined ? {} : { tenant }), ...(workspace === undefined ? {} : { workspace }) };
  const as = { subject: subjectOf(status), reason: `instance import ${address.name}` };
  const { skuRef } = plan;
  if (skuRef === undefined)
    throw new Problem('validation', 'no size of the catalogue fits; name one: --sku', { sources: [{ pointer: '/spec/skuRef' }] });
  const storage = spec.storageSkuRef ?? (await storageSkuFor(tx, address));
  if (storage === undefined)
    throw new Problem('validation', 'the catalogue has no SKU for its disks; name one: --storage-sku', {
      sources: [{ pointer: '/spec/storageSkuRef' }],
    });
  const given = urnFromAddress(instanceImport, address);
  for (const [at, { name, sizeGB }] of plan.disks.entries()) {
    const artifact = artifacts[at];
    if (artifact !== undefined) {
      const at = { ...(tenant === undefined ? {} : { tenant }), name };
      if ((await tx.lockAt(image, at)) !== undefined)
        throw new Problem('conflict', `there is image ${name} already; delete it first, or give another name`);
      const imageSpec: ImageSpec = { blockStorageRef: given, cpuArchitecture: spec.cpuArchitecture ?? 'amd64', boot: plan.boot };
      await tx.put({
        kind: image,
        address: at,
        labels,
        spec: imageSpec,
        status: { ...imageStatus(artifact) },
        state: 'active',
        conditions: [{ state: 'active' }, { state: 'creating' }],
        references: [{ pointer: '/spec/blockStorageRef', given, uid }],
      });
    }
    const disk: BlockStorageSpec = {
      sizeGB,
      skuRef: storage,
      ...(artifact === undefined ? {} : { sourceImageRef: `${image.collection}/${name}` }),
    };
    await putAdmitted(tx, behaviours.blockStorage, { address: { ...place, name }, labels, spec: disk }, as);
  }
  const nics = plan.nics.flatMap(({ name, subnetRef }) => (name === undefined || subnetRef === undefined ? [] : [{ name, subnetRef }]));
  for (const { name, subnetRef } of nics) {
    const nicSpec: NicSpec = { addresses: ['0.0.0.0'], subnetRef };
    await putAdmitted(tx, behaviours.nic, { address: { ...place, name }, labels, spec: nicSpec }, as);
  }
  const [boot, ...data] = plan.disks.map(({ name }) => ({ deviceRef: `${blockStorage.collection}/${name}` }));
  if (boot === undefined) throw new Problem('validation', 'a machine without a disk cannot be made');
  const [primary, ...additional] = nics.map(({ name }) => `${nic.collection}/${name}`);
  const machine: InstanceSpec = {
    zone: plan.zone,
    skuRef,
    bootVolume: boot,
    ...(data.length === 0 ? {} : { dataVolumes: data }),
    ...(primary === undefined ? {} : { primaryNicRef: primary }),
    ...(additional.length === 0 ? {} : { additionalNicRefs: additional }),
  };
  const target = { ...place, name: plan.instance };
  const extensions = { 'virt8ra.power': spec.power ?? 'off' };
  await putAdmitted(tx, behaviours.instance, { address: target, labels, extensions, spec: machine }, as);
  return referenceTo(instance, target);
}

const rehearsed = 'rehearsed';

/** Makes all of it and takes it back, to see whether it may be made. Answers what is in the way, or undefined. */
export async function rehearse(
  transaction: <Value>(work: (tx: StoreTransaction) => Promise<Value>) => Promise<Value>,
  behaviours: MakingBehaviours,
  held: InstanceImport,
  plan: InstanceImportPlan,
): Promise<Problem | undefined> {
  const artifacts = plan.disks.map(({ file, virtualSizeBytes }): Artifact | undefined =>
    file === undefined ? undefined : { sha256: '0'.repeat(64), format: 'qcow2', virtualSizeBytes, fileBytes: 1 },
  );
  try {
    return await transaction<undefined>(async (tx) => {
      await makeMachine(tx, behaviours, held, plan, artifacts);
      throw new Problem('cancelled', rehearsed);
    });
  } catch (error) {
    if (!(error instanceof Problem) || error.kind === 'unavailable' || error.kind === 'internal') throw error;
    return error.message === rehearsed ? undefined : error;
  }
}

function subjectOf({ askedBy }: InstanceImportStatus): Subject {
  return { name: askedBy ?? 'control-plane', remote: '', operator: false, tenants: [] };
}
