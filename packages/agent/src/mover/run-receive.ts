import { Problem, toProblem } from '@virt8ra/contract/plain';
import type { Log } from '../log.js';
import { claimedPorts } from '../network/free-port.js';
import type { MoverNotice, ReceiveConfig } from '../transfer/mover-port.js';
import { chunkBytes } from './chunks.js';
import { lastWord } from './last-word.js';
import type { PassCommands } from './passes.js';
import { openReceiveTarget } from './receive-target.js';
import { createReceiver, type ReceiveCounters } from './receiver.js';

export interface ReceiveRun {
  readonly config: ReceiveConfig;
  readonly bootId: string;
  readonly commands: Pick<PassCommands, 'signal' | 'aborting'>;
  readonly log: Log;
  readonly notify: (notice: MoverNotice) => void;
}

const countersMs = 1_000;

/**
 * Receives a guest's disks. The last notice is `finished`, `aborted` or `failed`; after `failed` another run goes on where this one was. After
 * `finished` it stays until the sender knows it, so that one that was cut off at the end can ask again.
 */
export async function runReceive(run: ReceiveRun): Promise<void> {
  const { commands, log, notify } = run;
  let over = false;
  const onComplete = (roots: readonly string[]) => {
    over = true;
    notify({ type: 'finished', roots });
  };
  try {
    await receiveAll(run, onComplete);
  } catch (error) {
    if (over) return log.warn('a sender may not know yet that all came', { problem: toProblem(error).message });
    if (commands.signal.aborted) return commands.aborting ? notify({ type: 'aborted' }) : undefined;
    const problem = await lastWord(error, run.config.directory);
    log.error('a transfer cannot be received', { code: problem.kind, problem: problem.message });
    notify({ type: 'failed', code: problem.kind, message: problem.message });
  }
}

/** `onComplete` hears the root digests when everything is durable and the images are closed. */
async function receiveAll(
  { config, bootId, commands, log, notify }: ReceiveRun,
  onComplete: (roots: readonly string[]) => void,
): Promise<void> {
  const { transferId, directory, runtimeDirectory, disks, pool, credentials, peerName, listen } = config;
  const opened = await openReceiveTarget({
    transferId,
    directory,
    runtimeDirectory,
    disks,
    bootId,
    signal: commands.signal,
    ...(pool === undefined ? {} : { pool }),
  });
  try {
    const meter = countersMeter(notify);
    const receiver = await createReceiver({
      transferId,
      target: opened.target,
      tls: credentials,
      peerName,
      listen: { address: listen.address, ports: candidatePorts(listen.ports, opened.lastPort, await claimedPorts()) },
      log,
      onCounters: meter,
    });
    try {
      await opened.rememberPort(receiver.port);
      for (const [disk, seeding] of opened.seedings.entries())
        if (seeding !== undefined) log.info('a disk began as its seed', { disk, ...seeding });
      const seeds = opened.seedings.map((seeding) => seeding ?? null);
      const began = seeds.some((seeding) => seeding !== null) ? { seeds } : {};
      notify({ type: 'listening', address: receiver.address, port: receiver.port, ...began });
      const cancelled = new Promise<never>((_, reject) => {
        const cancel = () => reject(new Problem('cancelled', 'the transfer was cancelled'));
        if (commands.signal.aborted) cancel();
        commands.signal.addEventListener('abort', cancel, { once: true });
      });
      const lost = opened.lost.then((problem) => Promise.reject(problem));
      const roots = await Promise.race([receiver.complete, cancelled, lost]);
      meter(receiver.counters, true);
      await opened.closeDisks();
      onComplete(roots);
      await Promise.race([receiver.finished, cancelled]);
    } finally {
      await receiver.close();
    }
  } finally {
    await opened.close();
  }
}

function candidatePorts(range: ReceiveConfig['listen']['ports'], last: number | undefined, claimed: ReadonlySet<number>): number[] {
  const first = last === undefined ? [] : [last];
  if (range === undefined) return [...first, 0];
  const all = Array.from({ length: range.last - range.first + 1 }, (_, index) => range.first + index).filter((port) => !claimed.has(port));
  return [...first.filter((port) => all.includes(port)), ...all];
}

function countersMeter(notify: (notice: MoverNotice) => void): (counters: ReceiveCounters, last?: boolean) => void {
  let at = Number.NEGATIVE_INFINITY;
  return ({ passes, bytes, resentBytes, streams }, last = false) => {
    const now = performance.now();
    if (!last && now - at < countersMs) return;
    at = now;
    notify({ type: 'counters', passes, bytes, resentBytes, chunkBytes, streams });
  };
}
