/** Instance import: takes an OVA in, says what would be made of it, and makes it. It is over when it is done, refused or cancelled. */
import {
  type Address,
  blockStorage,
  type InstanceImportSpec,
  image,
  instance,
  instanceImport,
  instanceSku,
  nic,
  Problem,
  site,
  storageSku,
  subnet,
} from '@virt8ra/contract';
import type { Outcome, Workflow } from '@virt8ra/engine';
import { mayPut } from '../../identity/may-put.js';
import { jsonEqual } from '../../resources/json-equal.js';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference } from '../../resources/stored-resource.js';
import type { Admission, KindBehaviour, PutRequest } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { receivedSoFar } from '../image-import/index.js';
import type { InstanceImport } from './make.js';
import type { InstanceImportStatus } from './status.js';
import { type MachineArtifacts, type MakeInput, refuseIn } from './workflow.js';

export type { MakingBehaviours } from './make.js';
export { createMakeWorkflow, type MakeInput } from './workflow.js';

type Request = PutRequest<InstanceImportSpec, InstanceImportStatus>;

export function createInstanceImportBehaviour(
  context: KindContext,
  artifacts: Pick<MachineArtifacts, 'received' | 'discard'>,
  workflow: Workflow<MakeInput, unknown>,
  region: string,
): KindBehaviour<InstanceImportSpec, InstanceImportStatus> {
  return {
    kind: instanceImport,
    admitPut: async (tx, request) => await admitImport(tx, request, region),
    actions: {
      async cancel(tx, { uid, address, status: { phase } }) {
        if (phase === 'done' || phase === 'refused')
          throw new Problem('conflict', `instance import ${address.name} is ${phase}; there is nothing to cancel`);
        await tx.setProgress(uid, undefined);
        await tx.setStatus(uid, { phase: 'refused' }, { state: 'error', type: 'Cancelled', reason: 'Cancelled', message: 'cancelled' });
        await tx.nudge(instanceImport.kind, uid);
      },
    },
    reconcile: async (resource) => await reconcileImport(context, artifacts, workflow, resource),
    async present(_reader, resources) {
      return await Promise.all(
        resources.map(async ({ uid, status }) =>
          status.phase === 'waiting-for-content' || status.phase === 'receiving' ? await receivedSoFar(artifacts, uid, status) : {},
        ),
      );
    },
  };
}

/** What it names must be there, and whoever asks must be allowed to make each of its parts by themselves. */
async function admitImport(
  tx: StoreTransaction,
  { address, next, previous, subject }: Request,
  region: string,
): Promise<Admission<InstanceImportStatus>> {
  const { spec } = next;
  const { name, ...within } = address;
  const { phase } = previous?.status ?? {};
  if (phase === 'refused') throw new Problem('conflict', `instance import ${name} is over; delete it and make another`);
  if (previous !== undefined && (phase === 'done' || phase === 'converting')) {
    // Labels and the like may change.
    if (!jsonEqual(previous.spec, spec))
      throw new Problem('conflict', `instance import ${name} is ${phase}; what it makes cannot change any more`);
    return { outcome: phase === 'done' ? 'active' : 'creating' };
  }
  const references: ResolvedReference[] = [];
  if (spec.skuRef !== undefined) references.push((await tx.resolve(instanceSku, spec.skuRef, within, '/spec/skuRef')).reference);
  if (spec.storageSkuRef !== undefined)
    references.push((await tx.resolve(storageSku, spec.storageSkuRef, within, '/spec/storageSkuRef')).reference);
  for (const [at, { subnetRef }] of (spec.networks ?? []).entries())
    references.push((await tx.resolve(subnet, subnetRef, within, `/spec/networks/${at}/subnetRef`)).reference);
  const { zone = 'any' } = spec;
  if (zone !== 'any' && (await tx.get(site, { name: zone })) === undefined)
    throw new Problem('validation', `there is no site ${zone}; virt8ra sites lists them, any lets placement choose`, {
      sources: [{ pointer: '/spec/zone' }],
    });
  await assertMayMake(tx, subject, spec.instanceName ?? name, within, region, (spec.networks ?? []).length > 0);
  if (previous !== undefined) return { references, status: { askedBy: subject.name }, outcome: 'creating' };
  const { source } = spec;
  const status: InstanceImportStatus = {
    askedBy: subject.name,
    receivedBytes: 0,
    ...('upload' in source ? { phase: 'waiting-for-content', totalBytes: source.upload.sizeBytes } : { phase: 'receiving' }),
  };
  return { references, status, outcome: 'creating', ...('upload' in source ? { reason: 'WaitingForContent' } : {}) };
}

async function assertMayMake(
  tx: StoreTransaction,
  subject: Request['subject'],
  name: string,
  within: Omit<Address, 'name'>,
  region: string,
  withNics: boolean,
): Promise<void> {
  const { tenant } = within;
  const ofTenant = tenant === undefined ? {} : { tenant };
  const parts = [
    { kind: instance, address: { ...within, name } },
    { kind: blockStorage, address: { ...within, name: `${name}-disk1` } },
    { kind: image, address: { ...ofTenant, name: `${name}-disk1` } },
    ...(withNics ? [{ kind: nic, address: { ...within, name: `${name}-nic1` } }] : []),
  ];
  for (const { kind, address } of parts)
    if (!(await mayPut(tx, subject, kind, address, region)))
      throw new Problem(
        'forbidden',
        `${subject.name} may not put ${kind.kind} ${address.name}, which the import would make: no role that they have says so`,
      );
}

async function reconcileImport(
  context: KindContext,
  artifacts: Pick<MachineArtifacts, 'received' | 'discard'>,
  workflow: Workflow<MakeInput, unknown>,
  { uid, address, spec, status, deletedAt }: InstanceImport,
): Promise<Outcome> {
  const subject = `${instanceImport.kind}/${uid}`;
  const [run] = await context.runner.list({ subject, limit: 1 });
  const live = run !== undefined && run.endedAt === undefined ? run : undefined;
  if (deletedAt !== undefined || status.phase === 'refused') {
    if (live !== undefined) {
      // Past its commit point it ends by itself.
      if (live.commitPoint === undefined && live.cancelReason === undefined)
        await context.runner.cancel(live.id, deletedAt === undefined ? 'the import was cancelled' : 'the import is being deleted');
      return { waitSeconds: 1, reason: 'its run is ending' };
    }
    await artifacts.discard(uid);
    if (deletedAt === undefined) return { done: true };
    await context.store.transaction(async (tx) => await tx.remove(uid));
    return { gone: true };
  }
  if (status.phase === 'done') return { done: true };
  if (live !== undefined) {
    // Whatever woke this may be what the run waits for.
    await context.runner.nudge(subject);
    return { done: true };
  }
  if (run !== undefined) {
    await context.store.transaction(async (tx) => await refuseIn(tx, uid, run.problem?.message ?? 'it could not be made'));
    return { waitSeconds: 1, reason: 'its content is to be discarded' };
  }
  const { source } = spec;
  if ('upload' in source && (await artifacts.received(uid))?.complete !== true) return { done: true, reason: 'waiting for content' };
  const input: MakeInput = { uid, ...('upload' in source ? { sha256: source.upload.sha256 } : { url: source.url, sha256: source.sha256 }) };
  await context.store.transaction(async (tx) => {
    const held = await tx.lock<InstanceImportSpec, InstanceImportStatus>(uid);
    if (held === undefined || held.deletedAt !== undefined || held.status.phase === 'refused') return;
    await tx.setStatus(uid, { phase: 'upload' in source ? 'reading' : 'receiving' });
    await context.runner.start(
      workflow,
      { subject, input, idempotencyKey: uid, ...(address.tenant === undefined ? {} : { lane: address.tenant }) },
      tx.client,
    );
  });
  return { done: true, reason: 'its run has begun' };
}
