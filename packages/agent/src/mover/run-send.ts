import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { transferStreams } from '@virt8ra/contract/plain';
import { makeDirectory, readJson, writeJsonAtomic } from '../disk/atomic-file.js';
import type { Log } from '../log.js';
import { connectMonitor, type Monitor } from '../qemu/monitor.js';
import type { MoverNotice, SendConfig } from '../transfer/mover-port.js';
import { chunkBytes } from './chunks.js';
import { fingerprintFiles, openColdSource } from './cold-source.js';
import { GuestPoints } from './guest-points.js';
import { lastWord } from './last-word.js';
import { type PassCommands, runPasses } from './passes.js';
import { replacePredecessor } from './predecessor.js';
import { ProgressMeter } from './progress-meter.js';
import { SendLedger } from './send-ledger.js';
import { Sender } from './sender.js';

export interface SendRun {
  readonly config: SendConfig;
  readonly bootId: string;
  readonly commands: PassCommands;
  readonly log: Log;
  readonly notify: (notice: MoverNotice) => void;
  readonly tuning?: Partial<SendTuning>;
}

export interface SendTuning {
  /** Parallel connections, each with one chunk in flight. */
  readonly streams: number;
  readonly reconnectMs: number;
  readonly targetPauseMs: number;
  readonly intervalMs: number;
}

const defaults: SendTuning = { streams: transferStreams, reconnectMs: 10_000, targetPauseMs: 500, intervalMs: 5_000 };

interface Finished {
  readonly roots: readonly string[];
  readonly pauseMs?: number;
}

/**
 * Sends a guest's disks: warm, in passes while it runs, or cold, in one. The last notice is `finished`, `aborted` or `failed`; with `failed` the
 * source is untouched, and another run goes on where this one was.
 */
export async function runSend(run: SendRun): Promise<void> {
  const { config, notify, log, commands } = run;
  try {
    await makeDirectory(config.directory);
    await replacePredecessor(config.directory, run.bootId);
    if (config.mode.type === 'warm') await sendWarm(run, config.mode);
    else await sendCold(run, config.mode.runtimeDirectory);
  } catch (error) {
    if (commands.signal.aborted) return commands.aborting ? notify({ type: 'aborted' }) : undefined;
    const problem = await lastWord(error, config.directory);
    log.error('a transfer cannot be sent', {
      code: problem.kind,
      problem: problem.message,
      stack: problem.kind === 'internal' ? problem.stack : undefined,
    });
    notify({ type: 'failed', code: problem.kind, message: problem.message });
  }
}

function openSender({ config, commands, log, notify, tuning }: SendRun, ledger: SendLedger, meter: ProgressMeter): Sender {
  const { streams, reconnectMs } = { ...defaults, ...tuning };
  const counters = () => {
    const { passes, bytes, resentBytes } = ledger;
    const { wireBytes } = sender;
    const { carried } = sender.carrying;
    notify({ type: 'counters', passes, bytes, resentBytes, chunkBytes, streams, wireBytes, ...(carried === undefined ? {} : { carried }) });
  };
  const sender = new Sender({
    transferId: config.transferId,
    sizes: config.disks.map(({ sizeBytes }) => sizeBytes),
    directory: config.directory,
    connect: { host: config.peer.address, port: config.peer.port },
    tls: config.credentials,
    peerName: config.peer.name,
    ledger,
    streams,
    reconnectMs,
    log,
    signal: commands.signal,
    onProgress: (progress) => {
      if (meter.report(progress)) counters();
    },
    onPassEnd: counters,
  });
  return sender;
}

async function sendWarm(run: SendRun, mode: Extract<SendConfig['mode'], { type: 'warm' }>): Promise<void> {
  const { config, notify, log, commands, tuning } = run;
  const { targetPauseMs, intervalMs } = { ...defaults, ...tuning };
  const { directory, transferId } = config;
  const finishedFile = join(directory, 'finished.json');
  const pausedFile = join(directory, 'paused.json');
  const monitor = await connectMonitor(mode.qmpSocket);
  const points = new GuestPoints({
    monitor,
    qmpSocket: mode.qmpSocket,
    transferId,
    disks: config.disks,
    directory,
    runtimeDirectory: mode.runtimeDirectory,
    signal: commands.signal,
  });
  const sizes = config.disks.map(({ sizeBytes }) => sizeBytes);
  // What the bitmaps in QEMU cover is what this ledger is good for; without them it is forgotten.
  const ledger = SendLedger.open({ directory, transferId, sizes, validity: 'guest' });
  const meter = new ProgressMeter(notify);
  const sender = openSender(run, ledger, meter);
  try {
    const earlier = (await readJson(finishedFile)) as Finished | undefined;
    if (earlier !== undefined && (await isPaused(monitor)) && (await points.isUnchanged())) return notify({ type: 'finished', ...earlier });
    await rm(finishedFile, { force: true });
    const outcome = await runPasses({
      points,
      monitor,
      sender,
      ledger,
      minPasses: config.minPasses,
      targetPauseMs,
      intervalMs,
      log,
      commands,
      onPass: ({ converged, behind, ...figures }) => {
        meter.dirty(figures.dirtyBytes);
        notify({ type: 'pass', ...figures });
        if (converged) notify({ type: 'converged' });
        else if (behind) notify({ type: 'behind' });
      },
      onWaiting: (dirtyBytes) => meter.waiting(dirtyBytes),
      onHold: (pass) => notify({ type: 'held', ...(pass === undefined ? {} : { pass }) }),
      onPausing: async () => {
        await writeJsonAtomic(pausedFile, {});
        meter.phase('last pass');
        notify({ type: 'paused', at: new Date().toISOString() });
      },
    });
    const finished: Finished = { roots: outcome.roots, pauseMs: outcome.pauseMs };
    await writeJsonAtomic(finishedFile, finished);
    await sender.sayGoodbye();
    notify({ type: 'finished', ...finished });
    await outcome.release().catch((error: unknown) => log.warn('the exports of a finished transfer stay', { problem: String(error) }));
  } catch (error) {
    if (commands.aborting) {
      await points.clear();
      if ((await readJson(pausedFile)) !== undefined && (await isPaused(monitor))) await monitor.run('cont');
    }
    throw error;
  } finally {
    sender.close();
    ledger.close();
    monitor.close();
  }
}

async function isPaused(monitor: Monitor): Promise<boolean> {
  return ((await monitor.run('query-status')) as { readonly status: string }).status === 'paused';
}

async function sendCold(run: SendRun, runtimeDirectory: string): Promise<void> {
  const { config, bootId, notify, commands } = run;
  const { directory, transferId, disks } = config;
  const finishedFile = join(directory, 'finished.json');
  const sizes = disks.map(({ sizeBytes }) => sizeBytes);
  const fingerprint = await fingerprintFiles(disks);
  const ledger = SendLedger.open({ directory, transferId, sizes, validity: `${bootId}\n${fingerprint}` });
  const meter = new ProgressMeter(notify);
  const sender = openSender(run, ledger, meter);
  // Both take a moment, and neither needs the other.
  const opening = openColdSource(disks, runtimeDirectory);
  try {
    const earlier = (await readJson(finishedFile)) as (Finished & { readonly fingerprint: string }) | undefined;
    if (earlier?.fingerprint === fingerprint) return notify({ type: 'finished', roots: earlier.roots });
    const [source, pass] = await Promise.all([opening, sender.firstPass()]);
    await sender.sendPass(pass, source.disks);
    notify({ type: 'converged' });
    // Nothing is sent from here on, whether that is asked for or not.
    notify({ type: 'held', pass });
    while (!commands.finishing) {
      commands.signal.throwIfAborted();
      await commands.wait(60_000);
    }
    const roots = await sender.complete();
    await writeJsonAtomic(finishedFile, { roots, fingerprint });
    await sender.sayGoodbye();
    notify({ type: 'finished', roots });
  } finally {
    sender.close();
    ledger.close();
    const [opened] = await Promise.allSettled([opening]);
    if (opened.status === 'fulfilled') await opened.value.close();
  }
}
