import type { OpenedStream, StreamTarget } from '@virt8ra/contract';
import type { Handle } from '../observation.js';

/** Who asks for a stream. */
export interface StreamCaller {
  /** Whom others at the same console are told of. */
  readonly by: string;
  /** Fires when the caller does not wait any longer. */
  readonly signal: AbortSignal;
}

/** Consoles, screens and ports of instances, through whatever way the site has that needs nobody to listen beside the instance. */
export interface StreamsFacet {
  /**
   * Resolves when the place is reached; the carrier then brings what comes after `opened`. Raises
   * `conflict` when the instance does not run, `unsupported` when it has no such place, `unavailable` when it cannot be reached now, `throttled`
   * when there are too many.
   */
  open(instance: Handle, target: StreamTarget, caller: StreamCaller): Promise<OpenedStream>;
}
