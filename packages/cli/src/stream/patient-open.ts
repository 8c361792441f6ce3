import { pauseMs, rest } from '@virt8ra/client';
import { type OpenedStream, Problem } from '@virt8ra/contract';

/**
 * Opens a stream, again and again while it is only a matter of time: while the instance is between two hosts, or a server or an agent starts. Raises
 * the last problem when `seconds` are over, and at once what time does not mend.
 */
export async function patientOpen(
  open: () => Promise<OpenedStream>,
  seconds: number,
  signal: AbortSignal,
  { alsoConflict = false }: { readonly alsoConflict?: boolean } = {},
): Promise<OpenedStream> {
  const deadline = performance.now() + seconds * 1000;
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await open();
    } catch (error) {
      const again = error instanceof Problem && (error.retry === 'later' || (alsoConflict && error.kind === 'conflict'));
      const pause = again ? Math.min(pauseMs(attempt, error.retryAfterSeconds), 2000) : 0;
      if (!again || performance.now() + pause > deadline) throw error;
      await rest(pause, signal);
    }
  }
}
