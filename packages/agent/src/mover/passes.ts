import type { PassFigures } from '@virt8ra/contract';
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
  onPass(ended: EndedPass): void;
  /** Little is left, and nothing is being sent: so much has changed since the last pass. */
  onWaiting(dirtyBytes: number): void;
  /** What the receiver has stays as it is, up to that pass; undefined: not any more. */
  onHold(pass: number | undefined): void;
  /** The guest is about to be stopped. */
  onPausing(): Promise<void>;
}

export interface EndedPass extends PassFigures {
  /** The guest may be stopped at any time. */
  readonly converged: boolean;
  /** Pass after pass the guest changes about as much as was carried. */
  readonly behind: boolean;
}

/** What the owner of a transfer orders while it runs. */
export interface PassCommands {
  readonly finishing: boolean;
  /** No further pass is begun until it is over, or `finish` is ordered. */
  readonly holding: boolean;
  /** Leave no trace; otherwise an aborted signal means that another mover goes on. */
  readonly aborting: boolean;
  readonly signal: AbortSignal;
  /** Returns when `finish` or another hold was ordered, the signal aborted, or the time is over. */
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
/** A pass that leaves this share of what it carried, or more, has gained nothing. */
const gainsNothing = 0.9;
const passesBehind = 2;
/** While the cut-over is waited for, passes take no more than a tenth of the time, and none is put off for longer than this. */
const restShare = 10;
const longestRestMs = 60_000;

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
  let behind = 0;
  for (;;) {
    const changed = points.nextPass === undefined ? undefined : await points.dirtyBytes();
    const begin = performance.now();
    const result = await runPass(options, pass, false);
    const ms = performance.now() - begin;
    const dirtyBytes = await points.dirtyBytes();
    const enough = ledger.passes >= Math.max(1, minPasses);
    const short = isShort(options, result, dirtyBytes);
    const converged = enough && short;
    const figures = { pass, workBytes: changed ?? result.totalBytes, ms: Math.round(ms), dirtyBytes };
    behind = short || dirtyBytes < figures.workBytes * gainsNothing ? 0 : behind + 1;
    log.info('a pass ended', { ...figures, sentBytes: result.sentBytes, converged });
    options.onPass({ ...figures, converged, behind: behind >= passesBehind });
    pass += 1;
    if (commands.holding) await hold(options, figures.pass);
    else if (converged) await waitForWork(options, ms);
    commands.signal.throwIfAborted();
    if (!commands.finishing || !enough) continue;
    if (sprints >= lastSprints || isShort(options, result, await points.dirtyBytes())) break;
    sprints += 1;
  }
  return await lastPass(options, pass);
}

/** Returns when it shall go on. */
async function hold({ points, intervalMs, commands, onHold, onWaiting }: PassesOptions, pass: number): Promise<void> {
  onHold(pass);
  while (commands.holding && !commands.finishing && !commands.signal.aborted) {
    await commands.wait(intervalMs);
    onWaiting(await points.dirtyBytes());
  }
  onHold(undefined);
}

/** Returns when the guest has changed something and the interval is over, or when something was ordered. */
async function waitForWork({ points, intervalMs, commands, onWaiting }: PassesOptions, passMs: number): Promise<void> {
  const end = performance.now() + Math.max(intervalMs, Math.min(passMs * restShare, longestRestMs));
  for (;;) {
    await commands.wait(intervalMs);
    if (commands.finishing || commands.holding || commands.signal.aborted) return;
    const dirtyBytes = await points.dirtyBytes();
    onWaiting(dirtyBytes);
    if (dirtyBytes > 0 && performance.now() >= end - 1) return;
  }
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
