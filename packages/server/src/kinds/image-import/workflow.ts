import {
  type DiskFormat,
  type Id,
  type ImageImportSpec,
  type ImageSpec,
  image,
  imageImport,
  Problem,
  referenceTo,
} from '@virt8ra/contract';
import { defineWorkflow, type StepContext, type Workflow } from '@virt8ra/engine';
import type { Artifact } from '../../artifacts/artifact.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { longStep } from '../long-step.js';
import { type ImageImportStatus, imageStatus } from './status.js';

export interface AcceptInput {
  readonly uid: Id<'resource'>;
  /** Undefined: the content was sent and is complete. */
  readonly url?: string;
  readonly sha256: string;
  readonly format?: DiskFormat;
}

type Verdict = { readonly accepted: Artifact } | { readonly refused: string };

export type ImportArtifacts = Pick<ArtifactStore, 'begin' | 'received' | 'fetch' | 'accept' | 'discard'>;

const renewMs = 60_000;

/** Fetches the content when it has a URL, inspects it, and makes the image or says why not. */
export function createAcceptWorkflow(
  context: Pick<KindContext, 'store' | 'now'>,
  artifacts: ImportArtifacts,
): Workflow<AcceptInput, { readonly refused: string | null }> {
  return defineWorkflow<AcceptInput, { readonly refused: string | null }>({
    name: 'image-import.accept',
    version: 1,
    async run(run, input) {
      const { url } = input;
      const fetched =
        url === undefined
          ? null
          : await run.step(
              'fetch',
              async (step) => await reasonOfRefusal(async () => await fetchContent(context, artifacts, step, input, url)),
              async () => await artifacts.discard(input.uid),
            );
      const verdict: Verdict =
        fetched === null
          ? await run.step('inspect', async (step): Promise<Verdict> => {
              let accepted: Artifact | undefined;
              const refused = await reasonOfRefusal(async () => {
                accepted = await longStep(context, step, input.uid, 'inspecting', async ({ signal, tell }) => {
                  return await artifacts.accept(input.uid, input.format, { signal, onPercent: (percent) => tell(percent, 100) });
                });
              });
              if (accepted !== undefined) return { accepted };
              return { refused: refused ?? 'the content cannot be used' };
            })
          : { refused: fetched };
      await run.commit('judged');
      const refused = await run.step('publish', async (step) => {
        await step.assertOwned(renewMs);
        const reason = 'refused' in verdict ? verdict.refused : await publish(context, input.uid, verdict.accepted);
        if (reason !== null) await refuse(context, input.uid, reason);
        await artifacts.discard(input.uid);
        return reason;
      });
      return { refused };
    },
  });
}

/** Troubles that say something of the content are a verdict; all others are the run's. */
export async function reasonOfRefusal(act: () => Promise<void>): Promise<string | null> {
  try {
    await act();
    return null;
  } catch (error) {
    if (error instanceof Problem && (error.kind === 'validation' || error.kind === 'too-large')) return error.message;
    throw error;
  }
}

/** Brings the content of a URL in, from where an earlier attempt was cut. Raises as the artifact store does. */
export async function fetchContent(
  context: Pick<KindContext, 'store' | 'now'>,
  artifacts: Pick<ArtifactStore, 'begin' | 'fetch'>,
  step: StepContext,
  { uid, sha256 }: Pick<AcceptInput, 'uid' | 'sha256'>,
  url: string,
): Promise<void> {
  await longStep(context, step, uid, 'receiving', async ({ signal, tell }) => {
    await artifacts.begin(uid, { sha256 });
    await artifacts.fetch(uid, url, { signal, onProgress: ({ offset, totalBytes }) => tell(offset, totalBytes) });
  });
}

/** Makes the image. Answers why it cannot, or null. Silent when the import has gone or was cancelled. */
async function publish(context: Pick<KindContext, 'store'>, uid: Id<'resource'>, artifact: Artifact): Promise<string | null> {
  return await context.store.transaction(async (tx) => {
    const held = (await tx.lock(uid)) as StoredResource<ImageImportSpec, ImageImportStatus> | undefined;
    if (held === undefined || held.deletedAt !== undefined || held.status.phase === 'refused') return null;
    const { tenant, name } = held.address;
    const address = { ...(tenant === undefined ? {} : { tenant }), name };
    const existing = await tx.lockAt(image, address);
    if (existing !== undefined) {
      const madeFrom = (await tx.referencesOf(existing.uid)).some((reference) => reference.uid === uid);
      if (!madeFrom) return `an image named ${name} was made meanwhile from something else`;
    } else {
      const { cpuArchitecture, boot, initializer } = held.spec;
      const blockStorageRef = referenceTo(imageImport, held.address);
      const spec: ImageSpec = {
        blockStorageRef,
        cpuArchitecture,
        ...(boot === undefined ? {} : { boot }),
        ...(initializer === undefined ? {} : { initializer }),
      };
      await tx.put({
        kind: image,
        address,
        labels: held.labels,
        spec,
        status: { ...imageStatus(artifact) },
        state: 'active',
        conditions: [{ state: 'active' }, { state: 'creating' }],
        references: [{ pointer: '/spec/blockStorageRef', given: blockStorageRef, uid }],
      });
    }
    await tx.setProgress(uid, undefined);
    await tx.setStatus(
      uid,
      { phase: 'done', receivedBytes: artifact.fileBytes, totalBytes: artifact.fileBytes, imageRef: referenceTo(image, address), artifact },
      { state: 'active' },
    );
    return null;
  });
}

/** Says why the import has come to nothing; final. */
export async function refuse(context: Pick<KindContext, 'store'>, uid: Id<'resource'>, reason: string): Promise<void> {
  await context.store.transaction(async (tx) => {
    const held = (await tx.lock(uid)) as StoredResource<ImageImportSpec, ImageImportStatus> | undefined;
    if (held === undefined || held.status.phase === 'refused' || held.status.phase === 'done') return;
    await tx.setProgress(uid, undefined);
    await tx.setStatus(uid, { phase: 'refused' }, { state: 'error', type: 'Refused', reason: 'Refused', message: reason });
  });
}
