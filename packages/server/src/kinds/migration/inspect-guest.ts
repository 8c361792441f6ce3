import { GuestInspection, Problem, type ProblemKind, problemKinds } from '@virt8ra/contract';
import type { Handle, StreamsFacet } from '@virt8ra/driver';
import { Value } from 'typebox/value';

/** Longest time that a host may take to look into the disks of a guest. */
const longestMs = 15 * 60_000;
const mostBytes = 4 * 1024 * 1024;

/**
 * What the disks of an instance say of its guest, as its host finds it now, or found it no longer ago than that. The guest runs on meanwhile. Raises `unsupported` where its site or host
 * cannot look, and whatever the host says.
 */
export async function inspectGuest(streams: StreamsFacet | undefined, instance: Handle, maxAgeSeconds: number): Promise<GuestInspection> {
  if (streams === undefined) throw new Problem('unsupported', 'this site cannot look into the disks of a guest');
  const signal = AbortSignal.timeout(longestMs);
  const { carrier } = await streams.open(instance, { type: 'guest-disks', maxAgeSeconds }, { by: 'the control plane', signal });
  const chunks: Buffer[] = [];
  let bytes = 0;
  await new Promise<void>((resolve, reject) => {
    const late = (): void => reject(new Problem('unavailable', 'its host did not answer what the disks of the guest say'));
    signal.addEventListener('abort', late);
    carrier.listen({
      frame: (frame) => {
        if (!(frame instanceof Uint8Array)) return;
        bytes += frame.byteLength;
        if (bytes <= mostBytes) chunks.push(Buffer.from(frame));
      },
      ended: ({ code, message }) => {
        signal.removeEventListener('abort', late);
        if (code === 'done' && bytes <= mostBytes) resolve();
        else reject(new Problem('unavailable', `the answer of its host was cut: ${message}`));
      },
    });
  });
  const answer: unknown = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  if (Value.Check(GuestInspection, answer)) return answer;
  const { problem } = answer as { readonly problem?: { readonly code?: string; readonly message?: string } };
  const kind: ProblemKind = problemKinds.find((known) => known === problem?.code) ?? 'unavailable';
  throw new Problem(kind, problem?.message ?? 'its host answered what nobody understands');
}
