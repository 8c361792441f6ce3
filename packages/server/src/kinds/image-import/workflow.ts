import { type Id, type ImageImportSpec, type ImageSpec, image, imageImport, Problem, referenceTo } from '@virt8ra/contract';
import { defineWorkflow, type StepContext, type Workflow } from '@virt8ra/engine';
import type { Artifact } from '../../artifacts/artifact.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import { type ImageImportStatus, imageStatus } from './status.js';

export interface AcceptInput {
  readonly uid: Id<'resource'>;
  /** Undefined: the content was sent and is complete. */
  readonly url?: string;
  readonly sha256: string;
  readonly format?: Artifact['format'];
}

type Verdict = { readonly accepted: Artifact } | { readonly refused: string };

export type ImportArtifacts = Pick<ArtifactStore, 'begin' | 'received' | 'fetch' | 'accept' | 'discard'>;

/** The lease is made to outlive so much of work at a time. */
const holdMs = 300_000;
const renewMs = 60_000;
const tellMs = 1000;

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
              await step.assertOwned(holdMs);
              let accepted: Artifact | undefined;
              const refused = await reasonOfRefusal(async () => {
                accepted = await artifacts.accept(input.uid, input.format);
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
async function reasonOfRefusal(act: () => Promise<void>): Promise<string | null> {
  try {
    await act();
    return null;
  } catch (error) {
    if (error instanceof Problem && (error.kind === 'validation' || error.kind === 'too-large')) return error.message;
    throw error;
  }
}

async function fetchContent(
  context: Pick<KindContext, 'store' | 'now'>,
  artifacts: ImportArtifacts,
  step: StepContext,
  { uid, sha256 }: AcceptInput,
  url: string,
): Promise<void> {
  await step.assertOwned(holdMs);
  await artifacts.begin(uid, { sha256 });
  const lost = new AbortController();
  let told = { at: 0, offset: 0 };
  let held = context.now().getTime();
  let telling: Promise<void> = Promise.resolve();
  const tell = async (offset: number, totalBytes: number | undefined, at: number): Promise<void> => {
    if (at - held > renewMs) {
      await step.assertOwned(holdMs);
      held = at;
    }
    const bytesPerSecond = told.at === 0 ? 0 : Math.max(0, ((offset - told.offset) * 1000) / (at - told.at));
    told = { at, offset };
    const left = totalBytes === undefined ? undefined : totalBytes - offset;
    await context.store.transaction(async (tx) => {
      if ((await tx.lock(uid)) === undefined) return;
      await tx.setProgress(uid, {
        phase: 'receiving',
        bytes: offset,
        totalBytes: Math.max(offset, totalBytes ?? 0),
        bytesPerSecond,
        etaSeconds: left === undefined || bytesPerSecond === 0 ? null : left / bytesPerSecond,
      });
    });
  };
  let busy = false;
  try {
    await artifacts.fetch(uid, url, {
      signal: AbortSignal.any([step.signal, lost.signal]),
      onProgress({ offset, totalBytes }) {
        const at = context.now().getTime();
        if (busy || at - told.at < tellMs) return;
        busy = true;
        telling = tell(offset, totalBytes, at)
          .catch((error: unknown) => lost.abort(error))
          .finally(() => {
            busy = false;
          });
      },
    });
  } finally {
    await telling;
  }
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
