import type { AgentMessageOf } from '@virt8ra/contract';

/** Progress of one end of a transfer. */
export interface TransferProgress extends Omit<AgentMessageOf<'progress'>, 'type'> {
  readonly host: string;
}

export interface ProgressGate {
  offer(progress: TransferProgress): void;
  /** What waits is dropped: progress is worth nothing late. */
  stop(): void;
}

/** Transfers whose progress waits; what is beyond is dropped. */
const waitingMost = 1000;

/** Lets the first progress of a transfer end through at once, then the newest one per `intervalMs`. */
export function createProgressGate(deliver: (progress: TransferProgress) => void, intervalMs = 1000): ProgressGate {
  const open = new Map<string, { readonly timer: NodeJS.Timeout; next: TransferProgress | undefined }>();
  const pass = (id: string, progress: TransferProgress): void => {
    deliver(progress);
    const timer = setTimeout(() => {
      const entry = open.get(id);
      open.delete(id);
      if (entry?.next !== undefined) pass(id, entry.next);
    }, intervalMs);
    open.set(id, { timer, next: undefined });
  };
  return {
    offer(progress) {
      const id = `${progress.host}/${progress.transferId}`;
      const entry = open.get(id);
      if (entry !== undefined) entry.next = progress;
      else if (open.size < waitingMost) pass(id, progress);
    },
    stop() {
      for (const { timer } of open.values()) clearTimeout(timer);
      open.clear();
    },
  };
}
