import { Problem } from '@virt8ra/contract';
import { isDiskFull } from '../disk/room.js';
import { diskNode } from '../qemu/disk-devices.js';
import type { Guest } from '../qemu/guest.js';
import type { MonitorEvent } from '../qemu/monitor.js';
import { credentialsId, takeKey } from './attempt-key.js';
import { awaitState } from './await-state.js';
import { exportName, hostOf, setCapabilities } from './both-ends.js';
import type { Beginning } from './messages.js';

/** The source's hypervisor in a live move, step by step. Nothing here decides who may run: between `sendMemory` and its end the guest is stopped. */

export interface CopyProgress {
  readonly phase: 'copy' | 'memory';
  readonly doneBytes: number;
  readonly totalBytes: number;
  /** Of memory: how long it has been carried. */
  readonly carriedMs?: number;
}

export interface CopyOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: CopyProgress) => void;
}

interface BlockJob {
  readonly device: string;
  readonly ready: boolean;
  readonly len: number;
  readonly offset: number;
}

interface MigrationFacts {
  readonly status?: string;
  readonly 'error-desc'?: string;
  readonly downtime?: number;
  readonly 'total-time'?: number;
  readonly 'setup-time'?: number;
  readonly ram?: { readonly transferred: number; readonly remaining: number; readonly total: number };
}

const jobPrefix = 'live-mirror';
const peerPrefix = 'live-peer';
const jobOf = (disk: number) => `${jobPrefix}${disk}`;
const peerOf = (disk: number) => `${peerPrefix}${disk}`;

/** Longest time for each step while the guest is stopped. */
const stoppedStepMs = 5_000;
/** Longest time for all the memory of an emulated guest. */
const emulatedMs = 60_000;
/** Pause for the last of the memory that is aimed at; it grows as long as a busy guest's memory does not get small enough. */
const downtimeMs = { least: 100, most: 1_000, growsAfter: 10_000 } as const;

/**
 * Lets go of overlays that were merged under this guest: nothing uses them any more, but as long as they are there the disk below counts as a part of
 * them and cannot be copied by itself.
 */
export async function dropMergedOverlays(guest: Guest, nodes: readonly string[]): Promise<void> {
  for (const [disk, node] of nodes.entries()) {
    const overlay = diskNode(disk);
    if (node === overlay) continue;
    for (const name of [overlay, `${overlay}-file`]) await guest.monitor.run('blockdev-del', { 'node-name': name }).catch(() => {});
  }
}

/** Copies the disks into the target's and returns when both are equal; from then on every write goes to both. Raises Problem unavailable, internal. */
export async function mirrorDisks(guest: Guest, nodes: readonly string[], peer: Beginning, options: CopyOptions): Promise<void> {
  const { monitor } = guest;
  const errors: string[] = [];
  const stopListening = monitor.onEvent((event) => noteJobError(event, errors));
  try {
    for (const [disk, node] of nodes.entries()) {
      await monitor.run('blockdev-add', {
        driver: 'nbd',
        'node-name': peerOf(disk),
        server: { type: 'inet', host: peer.address, port: String(peer.diskPort) },
        export: exportName(disk),
        'tls-creds': credentialsId,
      });
      await monitor.run('blockdev-mirror', { 'job-id': jobOf(disk), device: node, target: peerOf(disk), sync: 'full' });
    }
    await awaitState(
      monitor,
      'the disks are copied',
      async () => {
        const jobs = await mirrors(guest);
        if (jobs.length < nodes.length) throw copyProblem(`a disk could not be copied: ${errors.join('; ') || 'no reason given'}`);
        options.onProgress({ phase: 'copy', doneBytes: sum(jobs, 'offset'), totalBytes: sum(jobs, 'len') });
        return jobs.every(({ ready }) => ready) ? true : undefined;
      },
      options,
    );
  } finally {
    stopListening();
  }
}

/** Whether every disk is still equal at both ends. */
export async function mirrorsStand(guest: Guest, disks: number): Promise<boolean> {
  const jobs = await mirrors(guest);
  return jobs.length === disks && jobs.every(({ ready }) => ready);
}

/**
 * Sends the memory while the guest runs, and returns when it is stopped with the last of it still here. An emulated guest stands still from the
 * beginning: QEMU’s emulator (TCG) loses track of pages that are written while they are sent, and the guest would go on with a memory that is
 * not its own. Raises Problem unavailable when it fails; the guest runs on then, or is left standing where it was stopped.
 */
export async function sendMemory(guest: Guest, peer: Beginning, options: CopyOptions): Promise<void> {
  const { monitor } = guest;
  let limit: number = downtimeMs.least;
  let raiseAt = performance.now() + downtimeMs.growsAfter;
  await setCapabilities(guest);
  await monitor.run('migrate-set-parameters', {
    'tls-creds': credentialsId,
    'tls-hostname': peer.address,
    'downtime-limit': limit,
    'max-bandwidth': 0,
  });
  const emulated = !((await monitor.run('query-kvm')) as { readonly enabled: boolean }).enabled;
  if (emulated) await monitor.run('stop', undefined, stoppedStepMs);
  // Only then is what it says of this attempt and not of the one before.
  await monitor.run('migrate', { uri: `tcp:${hostOf(peer.address)}:${peer.memoryPort}` });
  await awaitState(
    monitor,
    'the memory is sent',
    async () => {
      const facts = await migration(guest);
      const { status, ram } = facts;
      if (status === 'failed' || status === 'cancelled')
        throw new Problem('unavailable', `the memory could not be sent: ${reasonOf(facts)}`);
      if (ram !== undefined)
        options.onProgress({
          phase: 'memory',
          doneBytes: ram.transferred,
          totalBytes: ram.transferred + ram.remaining,
          carriedMs: (facts['total-time'] ?? 0) - (facts['setup-time'] ?? 0),
        });
      if (status === 'pre-switchover') return true;
      if (performance.now() > raiseAt && limit < downtimeMs.most) {
        limit = Math.min(limit * 2, downtimeMs.most);
        raiseAt = performance.now() + downtimeMs.growsAfter;
        await monitor.run('migrate-set-parameters', { 'downtime-limit': limit });
      }
      return undefined;
    },
    emulated ? { signal: options.signal, timeoutMs: emulatedMs } : options,
  );
}

/** Ends the copying of the stopped guest's disks at the point where both are equal, and lets go of the target's. */
export async function endMirrors(guest: Guest, disks: number, signal: AbortSignal): Promise<void> {
  const { monitor } = guest;
  const errors: string[] = [];
  const stopListening = monitor.onEvent((event) => noteJobError(event, errors));
  try {
    for (let disk = 0; disk < disks; disk += 1) await monitor.run('block-job-cancel', { device: jobOf(disk) }, stoppedStepMs);
    const options = { signal, timeoutMs: stoppedStepMs };
    await awaitState(monitor, 'the copies are ended', async () => ((await mirrors(guest)).length === 0 ? true : undefined), options);
    if (errors.length > 0) throw copyProblem(`a disk could not be copied to its end: ${errors.join('; ')}`);
    for (let disk = 0; disk < disks; disk += 1) await monitor.run('blockdev-del', { 'node-name': peerOf(disk) }, stoppedStepMs);
  } finally {
    stopListening();
  }
}

/** Sends the last of the memory and returns when the target has all of it. Raises Problem unavailable when that is not certain. */
export async function sendLast(guest: Guest, signal: AbortSignal): Promise<void> {
  const { monitor } = guest;
  await monitor.run('migrate-continue', { state: 'pre-switchover' }, stoppedStepMs);
  await awaitState(
    monitor,
    'the last of the memory is sent',
    async () => {
      const facts = await migration(guest);
      if (facts.status === 'failed' || facts.status === 'cancelled')
        throw new Problem('unavailable', `the last of the memory could not be sent: ${reasonOf(facts)}`);
      return facts.status === 'completed' ? true : undefined;
    },
    { signal, timeoutMs: stoppedStepMs },
  );
}

/**
 * Takes everything of a move out of the source's hypervisor, however far it had come, also what an earlier agent left. The guest may be left
 * stopped where it was stopped. Raises Problem unavailable when the hypervisor does not come to rest.
 */
export async function clearSource(guest: Guest): Promise<void> {
  const { monitor } = guest;
  const { status } = await migration(guest);
  const moving = status !== undefined && !['none', 'completed', 'failed', 'cancelled'].includes(status);
  const nodes = ((await monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string }[])
    .map((node) => node['node-name'] ?? '')
    .filter((name) => name.startsWith(peerPrefix));
  const jobs = await mirrors(guest);
  if (!moving && nodes.length === 0 && jobs.length === 0) return await takeKey(guest);
  // Whatever hangs on a peer that is away: its connections are cut first.
  const cut = [...nodes.map((name) => ({ type: 'block-node', 'node-name': name })), ...(moving ? [{ type: 'migration' }] : [])];
  for (const instance of cut) await monitor.run('yank', { instances: [instance] }).catch(() => {});
  if (moving) await monitor.run('migrate_cancel').catch(() => {});
  for (const { device } of jobs) await monitor.run('block-job-cancel', { device, force: true }).catch(() => {});
  const options = { signal: new AbortController().signal, timeoutMs: 20_000, lookMs: 50 };
  await awaitState(
    monitor,
    'a copy is called off',
    async () => {
      const now = (await migration(guest)).status;
      const still = now !== undefined && !['none', 'completed', 'failed', 'cancelled'].includes(now);
      return !still && (await mirrors(guest)).length === 0 ? true : undefined;
    },
    options,
  );
  for (const name of nodes) await monitor.run('blockdev-del', { 'node-name': name }).catch(() => {});
  await takeKey(guest);
}

async function mirrors(guest: Guest): Promise<readonly BlockJob[]> {
  const jobs = (await guest.monitor.run('query-block-jobs')) as readonly BlockJob[];
  return jobs.filter(({ device }) => device.startsWith(jobPrefix));
}

async function migration(guest: Guest): Promise<MigrationFacts> {
  return (await guest.monitor.run('query-migrate')) as MigrationFacts;
}

function noteJobError({ event, data }: MonitorEvent, errors: string[]): void {
  const { device, error } = data as { device?: string; error?: string };
  if (event === 'BLOCK_JOB_COMPLETED' && device?.startsWith(jobPrefix) === true && error !== undefined) errors.push(error);
}

function copyProblem(message: string): Problem {
  return new Problem(isDiskFull(new Error(message)) ? 'exhausted' : 'unavailable', message);
}

function reasonOf({ status, 'error-desc': description }: MigrationFacts): string {
  return description ?? `the hypervisor says ${status ?? 'nothing'}`;
}

function sum(jobs: readonly BlockJob[], part: 'len' | 'offset'): number {
  return jobs.reduce((total, job) => total + job[part], 0);
}
