/** Image import: takes a disk in, inspects it and makes the image of the same name. It is over when it is done, refused or cancelled. */
import { type ImageImportSpec, image, imageImport, Problem } from '@virt8ra/contract';
import type { Outcome, Workflow } from '@virt8ra/engine';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { type ImageImportStatus, receivedSoFar } from './status.js';
import { type AcceptInput, type ImportArtifacts, refuse } from './workflow.js';

export { type ImageImportStatus, type ImageStatus, imageStatus, receivedSoFar } from './status.js';
export { type AcceptInput, createAcceptWorkflow, fetchContent, reasonOfRefusal } from './workflow.js';

type Import = StoredResource<ImageImportSpec, ImageImportStatus>;

export function createImageImportBehaviour(
  context: KindContext,
  artifacts: ImportArtifacts,
  accept: Workflow<AcceptInput, unknown>,
): KindBehaviour<ImageImportSpec, ImageImportStatus> {
  return {
    kind: imageImport,
    async admitPut(tx, { address, next, previous }) {
      // What it makes is fixed; labels and the like may change.
      if (previous?.status.phase === 'refused')
        throw new Problem('conflict', `image import ${address.name} is over; delete it and make another`);
      if (previous !== undefined) return { outcome: previous.status.phase === 'done' ? 'active' : 'creating' };
      const { source } = next.spec;
      const there = await tx.share(image, address);
      if (there !== undefined)
        throw new Problem('conflict', `there is an image ${address.name} already; delete it first, or import under another name`);
      return 'upload' in source
        ? {
            outcome: 'creating',
            status: { phase: 'waiting-for-content', receivedBytes: 0, totalBytes: source.upload.sizeBytes },
            reason: 'WaitingForContent',
          }
        : { outcome: 'creating', status: { phase: 'receiving', receivedBytes: 0 } };
    },
    actions: {
      async cancel(tx, { uid, address, status: { phase } }) {
        if (phase === 'done' || phase === 'refused')
          throw new Problem('conflict', `image import ${address.name} is ${phase}; there is nothing to cancel`);
        await tx.setProgress(uid, undefined);
        await tx.setStatus(uid, { phase: 'refused' }, { state: 'error', type: 'Cancelled', reason: 'Cancelled', message: 'cancelled' });
        await tx.nudge(imageImport.kind, uid);
      },
    },
    reconcile: async (resource) => await reconcileImport(context, artifacts, accept, resource),
    async present(_reader, resources) {
      return await Promise.all(
        resources.map(async ({ uid, status }) =>
          status.phase === 'done' || status.phase === 'refused' ? {} : await receivedSoFar(artifacts, uid, status),
        ),
      );
    },
  };
}

async function reconcileImport(
  context: KindContext,
  artifacts: ImportArtifacts,
  accept: Workflow<AcceptInput, unknown>,
  resource: Import,
): Promise<Outcome> {
  const { uid, address, spec, status, deletedAt } = resource;
  const subject = `${imageImport.kind}/${uid}`;
  const [run] = await context.runner.list({ subject, limit: 1 });
  const live = run !== undefined && run.endedAt === undefined ? run : undefined;
  const over = status.phase === 'done' || status.phase === 'refused';

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
  if (over || live !== undefined) return { done: true };
  if (run !== undefined) {
    await refuse(context, uid, run.problem?.message ?? 'it could not be taken in');
    return { waitSeconds: 1, reason: 'its content is to be discarded' };
  }
  const { source } = spec;
  if ('upload' in source && (await artifacts.received(uid))?.complete !== true) return { done: true, reason: 'waiting for content' };
  const { format } = spec;
  const input: AcceptInput = {
    uid,
    ...('upload' in source ? { sha256: source.upload.sha256 } : { url: source.url, sha256: source.sha256 }),
    ...(format === undefined ? {} : { format }),
  };
  await context.store.transaction(async (tx) => {
    const held = (await tx.lock(uid)) as Import | undefined;
    if (held === undefined || held.deletedAt !== undefined || held.status.phase === 'refused') return;
    await tx.setStatus(uid, { phase: 'upload' in source ? 'inspecting' : 'receiving' });
    await context.runner.start(
      accept,
      { subject, input, idempotencyKey: uid, ...(address.tenant === undefined ? {} : { lane: address.tenant }) },
      tx.client,
    );
  });
  return { done: true, reason: 'its run has begun' };
}
