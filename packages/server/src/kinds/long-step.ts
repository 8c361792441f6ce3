import type { Id } from '@virt8ra/contract';
import type { StepContext } from '@virt8ra/engine';
import type { KindContext } from './context.js';

/** The lease is made to outlive so much of work at a time. */
const holdMs = 300_000;
const renewMs = 60_000;
const tellMs = 1000;

export interface LongWork {
  /** Aborted when the run is cancelled, or belongs to another. */
  readonly signal: AbortSignal;
  /** Says how far it is; may be called as often as one likes. */
  tell(bytes: number, totalBytes: number | undefined): void;
}

/** Does what may take hours within one step: its progress is shown beside the resource, and the run stays ours while it goes on. */
export async function longStep<Value>(
  context: Pick<KindContext, 'store' | 'now'>,
  step: StepContext,
  uid: Id<'resource'>,
  phase: string,
  work: (work: LongWork) => Promise<Value>,
): Promise<Value> {
  await step.assertOwned(holdMs);
  const lost = new AbortController();
  let told = { at: 0, bytes: 0 };
  let telling: Promise<void> = Promise.resolve();
  let busy = false;
  const show = async (bytes: number, totalBytes: number | undefined, at: number): Promise<void> => {
    const bytesPerSecond = told.at === 0 ? 0 : Math.max(0, ((bytes - told.bytes) * 1000) / (at - told.at));
    told = { at, bytes };
    const left = totalBytes === undefined ? undefined : totalBytes - bytes;
    await context.store.transaction(async (tx) => {
      if ((await tx.lock(uid)) === undefined) return;
      await tx.setProgress(uid, {
        phase,
        bytes,
        totalBytes: Math.max(bytes, totalBytes ?? 0),
        bytesPerSecond,
        etaSeconds: left === undefined || bytesPerSecond === 0 ? null : left / bytesPerSecond,
      });
    });
  };
  // What says nothing for long, such as a digest, is work all the same.
  const renewal = setInterval(() => {
    step.assertOwned(holdMs).catch((error: unknown) => lost.abort(error));
  }, renewMs);
  try {
    return await work({
      signal: AbortSignal.any([step.signal, lost.signal]),
      tell(bytes, totalBytes) {
        const at = context.now().getTime();
        if (busy || at - told.at < tellMs) return;
        busy = true;
        telling = show(bytes, totalBytes, at)
          .catch((error: unknown) => lost.abort(error))
          .finally(() => {
            busy = false;
          });
      },
    });
  } finally {
    clearInterval(renewal);
    await telling;
  }
}
