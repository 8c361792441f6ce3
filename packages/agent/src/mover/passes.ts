import type { Log } from '../log.js';
import type { Monitor } from '../qemu/monitor.js';
import type { GuestPoint, GuestPoints } from './guest-points.js';
import type { SendLedger } from './send-ledger.js';
import type { PassResult, Sender } from './sender.js';

export interface PassesOptions {
  readonly points: GuestPoints;
  readonly monitor: Monitor;
  readonly sender: Sender;
  readonly ledger: SendLedger;
  readonly minPasses: number;
  /** The pause that is aimed at; a pass that takes half of it is short enough to be the last. */
  readonly targetPauseMs: number;
  /** Time between passes once there is little left to send. */
  readonly intervalMs: number;
  readonly log: Log;
  readonly commands: PassCommands;
  onPass(result: PassResult & { readonly pass: number; readonly dirtyBytes: number; readonly converged: boolean }): void;
  /** The guest is about to be stopped. */
  onPausing(): Promise<void>;
}

/** What the owner of a transfer orders while it runs. */
export interface PassCommands {
  readonly finishing: boolean;
  /** Leave no trace; otherwise an aborted signal means that another mover goes on. */
  readonly aborting: boolean;
  readonly signal: AbortSignal;
  /** Returns when `finish` was ordered, the signal aborted, or the time is over. */
  wait(ms: number): Promise<void>;
}

export interface PassesOutcome {
  readonly roots: readonly string[];
  /** From the order to stop the guest to the receiver's last word. */
  readonly pauseMs: number;
  /** Takes away what is left in QEMU; outside of the pause. */
  release(): Promise<void>;
}

/** Short passes are worth it before the pause, but not for ever. */
const lastSprints = 3;
/** So much is sent within any pause. */
const fewBytes = 4 * 1024 * 1024;

/**
 * Copies the disks of a running guest in passes until told to finish; then stops the guest, sends the rest, and leaves it stopped. The bitmap of
 * a pass is dropped only when all of the pass is durable at the receiver; a pass that fails goes into the next. Raises what the sender or QEMU
 * raised, with the guest as it was.
 */
export async function runPasses(options: PassesOptions): Promise<PassesOutcome> {
  const { points, sender, ledger, minPasses, commands, log } = options;
  const tracked = await points.adopt();
  if (!tracked) ledger.forget();
  let pass = points.nextPass ?? (await firstPass(sender, ledger));
  let sprints = 0;
  for (;;) {
    const result = await runPass(options, pass, false);
    const dirtyBytes = await points.dirtyBytes();
    const enough = ledger.passes >= Math.max(1, minPasses);
    const converged = enough && isShort(options, result, dirtyBytes);
    log.info('a pass ended', { pass, sentBytes: result.sentBytes, ms: Math.round(result.ms), dirtyBytes, converged });
    options.onPass({ ...result, pass, dirtyBytes, converged });
    pass += 1;
    if (converged) await waitForWork(options);
    commands.signal.throwIfAborted();
    if (!commands.finishing || !enough) continue;
    if (sprints >= lastSprints || isShort(options, result, await points.dirtyBytes())) break;
    sprints += 1;
  }
  return await lastPass(options, pass);
}

/** Returns when the guest has changed something and the interval is over, or when something was ordered. */
async function waitForWork({ points, intervalMs, commands }: PassesOptions): Promise<void> {
  do await commands.wait(intervalMs);
  while (!commands.finishing && !commands.signal.aborted && (await points.dirtyBytes()) === 0);
}

async function firstPass(sender: Sender, ledger: SendLedger): Promise<number> {
  const seen = await sender.firstPass();
  return ledger.passes === 0 && seen === 0 ? 0 : seen + 1;
}

async function runPass({ points, sender }: PassesOptions, pass: number, direct: boolean): Promise<PassResult> {
  const point = await points.take(pass, direct);
  const result = await orDrop(point, async () => await sender.sendPass(pass, point.disks));
  await point.release();
  return result;
}

async function orDrop<Result>(point: GuestPoint, work: () => Promise<Result>): Promise<Result> {
  try {
    return await work();
  } catch (error) {
    await point.drop().catch(() => {});
    throw point.starved() ?? error;
  }
}

function isShort({ targetPauseMs }: PassesOptions, { ms, sentBytes }: PassResult, dirtyBytes: number): boolean {
  const bytesPerMs = sentBytes / Math.max(1, ms);
  return dirtyBytes <= fewBytes || ms < targetPauseMs / 2 || dirtyBytes < (bytesPerMs * targetPauseMs) / 2;
}

async function lastPass(options: PassesOptions, pass: number): Promise<PassesOutcome> {
  const { points, monitor, sender, onPausing } = options;
  await onPausing();
  const begin = performance.now();
  sender.hurry();
  await monitor.run('stop');
  const point = await points.take(pass, true);
  return await orDrop(point, async () => {
    await sender.sendPass(pass, point.disks);
    const roots = await sender.complete();
    const pauseMs = performance.now() - begin;
    return { roots, pauseMs, release: async () => await point.release() };
  });
}
