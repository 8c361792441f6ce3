import { spawn } from 'node:child_process';
import { access, chown, open, readFile, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { makeDirectory, readText } from '../disk/atomic-file.js';
import { awaitExit, isAlive, type ProcessIdentity, readProcessIdentity, signalProcess } from '../system/process-identity.js';
import { Turns } from '../system/turns.js';
import { type GuestPaths, type GuestPlan, qemuCommand } from './command-line.js';
import { deafMonitor } from './deaf-monitor.js';
import { diskDevice } from './disk-devices.js';
import { type GuestUser, unprivileged } from './guest-user.js';
import { lockingMemory } from './host-devices.js';
import { connectMonitor, type Monitor } from './monitor.js';

/** A QEMU process known to be the one we started, with its monitor. */
export interface Guest {
  readonly launchId: string;
  readonly process: ProcessIdentity;
  readonly paths: GuestPaths;
  readonly monitor: Monitor;
  /** Who speaks to the agent inside it. */
  readonly agentTurns: Turns;
}

const launchMs = 20_000;
const quitMs = 10_000;
const hurryMs = 1_000;

/**
 * Starts a guest's process, paused before its first instruction, in a session of its own so that it outlives this agent. `onSpawn` hears
 * the process as soon as it exists. `bound`: it ends with this agent, however that ends. Raises Problem internal with QEMU's own words when it does not come up.
 */
export async function launchGuest(
  plan: GuestPlan,
  user: GuestUser | undefined,
  onSpawn: (process: ProcessIdentity) => Promise<void>,
  { bound = false }: { readonly bound?: boolean } = {},
): Promise<Guest> {
  const { paths } = plan;
  const runtime = dirname(paths.qmp);
  await makeDirectory(runtime);
  if (user !== undefined) await chown(runtime, user.uid, user.gid);
  for (const path of [paths.qmp, paths.moverQmp, paths.pid, paths.log, paths.console, paths.vnc, paths.agent])
    await rm(path, { force: true });
  const [setpriv = '', ...rest] = unprivileged(user, qemuCommand(plan));
  const confined = [setpriv, ...(bound ? ['--pdeathsig', 'KILL'] : []), ...rest];
  const [command = '', ...args] = (plan.hostDevices ?? []).length === 0 ? confined : lockingMemory(plan.memoryMiB, confined);
  // For appending, so that it can be cut under QEMU.
  const log = await open(paths.log, 'a', 0o600);
  const child = spawn(command, args, {
    detached: !bound,
    stdio: ['ignore', log.fd, log.fd],
    cwd: '/',
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  });
  const ended = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(`${command} did not start: ${error.message}`));
    child.once('exit', (status, signal) => resolve(`QEMU ended with ${signal ?? `status ${status}`}`));
  });
  child.unref();
  await log.close();
  const { pid } = child;
  const identity = pid === undefined ? undefined : await readProcessIdentity(pid);
  if (identity !== undefined) await onSpawn(identity);
  const monitor = await Promise.race([connectWhenThere(paths.qmp, launchMs), ended]).catch((error: unknown) => error);
  if (typeof monitor === 'string' || monitor instanceof Error || identity === undefined) {
    if (identity !== undefined) await signalProcess(identity, 'SIGKILL');
    const why = typeof monitor === 'string' ? monitor : monitor instanceof Error ? monitor.message : await ended;
    throw new Problem('internal', `the guest’s process did not come up: ${why}${await lastWords(paths.log)}`);
  }
  return { launchId: plan.launchId, process: identity, paths, monitor: monitor as Monitor, agentTurns: new Turns() };
}

async function connectWhenThere(path: string, timeoutMs: number): Promise<Monitor> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await connectMonitor(path);
    } catch (error) {
      if (performance.now() > end) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** What a guest's process said last, with a colon before it; empty when it said nothing. */
export async function lastWords(log: string): Promise<string> {
  const said = (await readFile(log, 'utf8').catch(() => '')).trim();
  return said === '' ? '' : `: ${said.split('\n').slice(-3).join(' · ').slice(0, 1000)}`;
}

/**
 * Finds a guest that an earlier agent started (`freshMs` ago it may have been starting still, and its pid file is waited for as long): its process by pid and start time where they were recorded, else by the pid file, and in either case only if
 * its monitor answers with the name of that launch. Undefined when the process is gone. A process that lives and whose sockets were removed
 * is left running, with a monitor that is deaf. Raises Problem unavailable when the process lives but its monitor does not answer.
 */
export async function attachGuest(
  launchId: string,
  paths: GuestPaths,
  recorded: ProcessIdentity | undefined,
  freshMs = 0,
): Promise<Guest | undefined> {
  const process = recorded ?? (await fromPidFile(paths.pid, freshMs));
  if (process === undefined || !(await isAlive(process))) return undefined;
  const monitor = await connectWhenThere(paths.qmp, recorded === undefined ? 2_000 : 5_000).catch(async (error: unknown) => {
    if (recorded === undefined || (await exists(paths.qmp))) throw error;
    return undefined;
  });
  if (monitor === undefined) return { launchId, process, paths, monitor: deafMonitor(process), agentTurns: new Turns() };
  const answer = (await monitor.run('query-name')) as { name?: string };
  if (answer.name === launchId) return { launchId, process, paths, monitor, agentTurns: new Turns() };
  monitor.close();
  if (recorded !== undefined)
    throw new Problem('internal', `process ${process.pid} answers as ${answer.name ?? 'nobody'}, not as ${launchId}`);
  return undefined;
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

async function fromPidFile(path: string, waitMs: number): Promise<ProcessIdentity | undefined> {
  const end = performance.now() + waitMs;
  for (;;) {
    const pid = Number((await readText(path))?.trim());
    if (Number.isSafeInteger(pid) && pid > 1) return await readProcessIdentity(pid);
    if (performance.now() >= end) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** QEMU's own word for what the guest does: `running`, `paused`, `prelaunch`, `shutdown`, `io-error`, … */
export async function guestStatus(guest: Guest): Promise<string> {
  const answer = (await guest.monitor.run('query-status')) as { status: string };
  return answer.status;
}

/** QEMU's words for a guest that `cont` would let run; the last two are of one that was sent away and stays. */
export const stillStates: readonly string[] = ['prelaunch', 'paused', 'io-error', 'postmigrate', 'finish-migrate'];

/** Whether it stands still because its memory was, or was being, sent away. */
export async function isStoppedByMove(guest: Guest): Promise<boolean> {
  return ['postmigrate', 'finish-migrate'].includes(await guestStatus(guest));
}

/**
 * Asks the guest to shut down (the power button, ACPI), waits for at most `graceMs`, and ends its process. Answers whether the guest did it
 * itself. Without grace not even QEMU is waited for: where a permit ran out, a process that does not answer at once is killed.
 */
export async function shutDownGuest(guest: Guest, graceMs: number): Promise<'shutdown' | 'forced'> {
  if (graceMs <= 0) {
    await quitGuest(guest, hurryMs);
    return 'forced';
  }
  const { monitor } = guest;
  let stop = (): void => {};
  const over = new Promise<'shutdown' | 'forced'>((resolve) => {
    stop = monitor.onEvent(({ event }) => {
      if (event === 'SHUTDOWN') resolve('shutdown');
    });
    void monitor.closed.then(() => resolve('forced'));
  });
  const status = await guestStatus(guest).catch(() => 'gone');
  let how: 'shutdown' | 'forced' = status === 'shutdown' ? 'shutdown' : 'forced';
  if (status === 'running') {
    await monitor.run('system_powerdown').catch(() => {});
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<'forced'>((resolve) => {
      timer = setTimeout(() => resolve('forced'), graceMs);
    });
    how = await Promise.race([over, late]);
    clearTimeout(timer);
  }
  stop();
  await quitGuest(guest);
  return how;
}

/**
 * Ends the guest's process and returns when it is gone; one that has not ended after `patienceMs` is killed. What the guest had not
 * written is lost, as when the power fails. Raises Problem unavailable when the kernel does not let the process go.
 */
export async function quitGuest(guest: Guest, patienceMs = quitMs): Promise<void> {
  // Of the signal QEMU ends in the same orderly way.
  await guest.monitor.run('quit', undefined, patienceMs).catch(async () => await signalProcess(guest.process, 'SIGTERM'));
  if (!(await awaitExit(guest.process, patienceMs))) {
    await signalProcess(guest.process, 'SIGKILL');
    if (!(await awaitExit(guest.process, quitMs))) {
      throw new Problem(
        'unavailable',
        `process ${guest.process.pid} of the guest does not end, not even when killed; the host’s kernel holds it, most likely in a disk operation`,
      );
    }
  }
  guest.monitor.close();
}

/** Name of the block node that the disk at a place is on now: it changes when an overlay is merged under a running guest. Undefined: there is no disk. */
export async function currentNode(guest: Guest, index: number): Promise<string | undefined> {
  const answer = (await guest.monitor.run('query-block')) as { qdev?: string; inserted?: { 'node-name'?: string } }[];
  return answer.find((entry) => entry.qdev?.includes(`/${diskDevice(index)}/`) === true)?.inserted?.['node-name'];
}

export interface PlacedDiskCounters {
  /** Which of the guest's disks: 0 is the one it boots from. */
  readonly place: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly reads: number;
  readonly writes: number;
}

/** What QEMU counts of each of the guest's disks since it has it; the seed does not count. */
export async function diskCounters(guest: Guest): Promise<readonly PlacedDiskCounters[]> {
  const answer = (await guest.monitor.run('query-blockstats')) as {
    qdev?: string;
    stats: { rd_bytes: number; wr_bytes: number; rd_operations: number; wr_operations: number };
  }[];
  return answer.flatMap(({ qdev, stats }) => {
    const place = /\/vd(\d+)\//.exec(qdev ?? '')?.[1];
    if (place === undefined) return [];
    const { rd_bytes: readBytes, wr_bytes: writtenBytes, rd_operations: reads, wr_operations: writes } = stats;
    return [{ place: Number(place), readBytes, writtenBytes, reads, writes }];
  });
}

/** Bytes the guest has read from its disks since its process began. */
export async function bytesRead(guest: Guest): Promise<number> {
  const answer = (await guest.monitor.run('query-blockstats')) as { qdev?: string; stats: { rd_bytes: number } }[];
  return answer.filter((entry) => entry.qdev !== undefined).reduce((sum, entry) => sum + entry.stats.rd_bytes, 0);
}
