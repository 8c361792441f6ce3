import { chown, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DesiredBootProbe, type ObservedBootProbe, Problem, toProblem } from '@virt8ra/contract';
import { keptOctets } from '../console/serial-tail.js';
import { makeDirectory } from '../disk/atomic-file.js';
import { openGuestAgent } from '../guest-agent/guest-agent.js';
import type { HostContext } from '../host-context.js';
import { guestUser } from '../instances/guest-starter.js';
import type { GuestPaths } from '../qemu/command-line.js';
import { prepareFirmware } from '../qemu/firmware.js';
import { bytesRead, type Guest, guestStatus, launchGuest, quitGuest } from '../qemu/guest.js';
import { requireReachable } from '../qemu/guest-user.js';
import { chooseMachine } from '../qemu/machine-choice.js';
import { seedFiles, writeSeedImage } from '../seed/seed-image.js';
import { createBlank } from '../storage/qemu-img.js';
import { hostMemory } from '../storage/space.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { hasSpoken, judgeBoot, tellingReadBytes } from './judge-boot.js';

export interface BootProbeParts {
  readonly context: HostContext;
  readonly volumes: VolumeStore;
  /** Folders of this probe alone: what it may keep while it runs, and for sockets, with a short name. */
  readonly directory: string;
  readonly runtimeDirectory: string;
  readonly report: (observed: ObservedBootProbe) => void;
}

const lookMs = 500;
/** No more of a serial console is kept and told. */
const tailBytes = 3_000;
const overheadMiB = 64;

/**
 * One boot of what has arrived so far, on disks that take the writes and are thrown away, without any network, and in a process that ends with this
 * agent. It is no run of the instance: nothing that it does is seen by anyone.
 */
export class BootProbe {
  readonly #parts: BootProbeParts;
  readonly #desired: DesiredBootProbe;
  readonly #begin = performance.now();
  readonly #over = new AbortController();
  readonly #ended: Promise<void>;
  #guest: Guest | undefined;

  constructor(parts: BootProbeParts, desired: DesiredBootProbe) {
    this.#parts = parts;
    this.#desired = desired;
    this.#ended = this.#run();
  }

  get request(): string {
    return this.#desired.request;
  }

  /** Returns when nothing of it is left. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { context, directory, runtimeDirectory } = this.#parts;
    try {
      this.#report({ state: 'booting' });
      await this.#clear();
      const guest = await this.#start();
      this.#guest = guest;
      await this.#watch(guest);
    } catch (error) {
      const problem = toProblem(error);
      context.log.warn('a copy could not be booted in isolation', { directory, code: problem.kind, problem: problem.message });
      if (!this.#over.signal.aborted) this.#report({ state: 'dead', reason: problem.message.slice(0, 1024) });
    } finally {
      if (this.#guest !== undefined) await quitGuest(this.#guest).catch(() => {});
      await this.#clear().catch(() => {});
      await rm(runtimeDirectory, { recursive: true, force: true });
    }
  }

  async #clear(): Promise<void> {
    await rm(this.#parts.directory, { recursive: true, force: true });
  }

  #report(change: Pick<ObservedBootProbe, 'state'> & Partial<ObservedBootProbe>): void {
    const seconds = Math.round((performance.now() - this.#begin) / 100) / 10;
    this.#parts.report({ request: this.request, seconds, readBytes: 0, serialBytes: 0, ...change });
  }

  async #start(): Promise<Guest> {
    const { context, volumes, directory, runtimeDirectory } = this.#parts;
    const { instance } = this.#desired;
    const { config, hypervisor } = context;
    const { availableMiB } = await hostMemory();
    if (instance.memoryMiB + overheadMiB > availableMiB)
      throw new Problem('exhausted', `the guest needs ${instance.memoryMiB} MiB of memory and the host has ${availableMiB} MiB left`);
    // The same as it will have when it runs here, so that the disks need not change hands.
    const user = await guestUser(config.root, instance.key);
    await makeDirectory(directory, 0o711);
    if (user !== undefined) {
      await makeDirectory(config.runtimeDirectory, 0o711);
      await requireReachable(directory);
    }
    const paths = pathsIn(directory, runtimeDirectory);
    const seed = join(directory, 'seed.iso');
    await writeSeedImage(
      seed,
      seedFiles({ ...instance, nics: [] }, () => undefined),
    );
    const firmware = await prepareFirmware(instance, directory);
    const disks = [];
    for (const [place, volumeKey] of instance.volumeKeys.entries()) {
      const record = volumes.get(volumeKey);
      if (record?.stage !== 'incoming') throw new Problem('conflict', `volume ${volumeKey} is not a copy that arrives`);
      const thrownAway = join(directory, `disk${place}.qcow2`);
      await createBlank(thrownAway, record.sizeBytes);
      disks.push({ volumeKey, base: volumes.files(volumeKey).base, driver: volumes.driver, thrownAway });
    }
    const owned = [directory, seed, ...(firmware === undefined ? [] : [firmware.variables])];
    if (user !== undefined)
      for (const path of [...owned, ...disks.flatMap(({ base, thrownAway }) => [base, thrownAway])]) await chown(path, user.uid, user.gid);
    this.#over.signal.throwIfAborted();
    return await launchGuest(
      {
        architecture: instance.architecture,
        launchId: `boot-probe ${instance.key}`,
        instance: instance.instance,
        ...chooseMachine(instance, {}, hypervisor),
        accelerator: instance.architecture === 'amd64' ? hypervisor.accelerator : 'tcg',
        vCPU: instance.vCPU,
        memoryMiB: instance.memoryMiB,
        disks,
        seed,
        nics: [],
        ...(firmware === undefined ? {} : { firmware }),
        paths,
      },
      user,
      async () => undefined,
      { bound: true },
    );
  }

  async #watch(guest: Guest): Promise<void> {
    const { context } = this.#parts;
    const { expects, timeoutSeconds, instance } = this.#desired;
    const { signal } = this.#over;
    let resets = 0;
    const stopListening = guest.monitor.onEvent(({ event }) => {
      if (event === 'RESET') resets += 1;
    });
    let spokeAt: number | undefined;
    let readAt: number | undefined;
    try {
      await guest.monitor.run('cont');
      const begin = performance.now();
      while (!signal.aborted) {
        await rest(lookMs, signal);
        if (signal.aborted) return;
        const octets = await keptOctets(guest.paths.serial);
        const serial = octets.subarray(Math.max(0, octets.length - 64 * 1024)).toString('utf8');
        const readBytes = await bytesRead(guest);
        const now = performance.now();
        if (hasSpoken(serial)) spokeAt ??= now;
        if (readBytes >= tellingReadBytes) readAt ??= now;
        const agent = await openGuestAgent(guest).catch(() => undefined);
        agent?.close();
        const judged = judgeBoot({
          expects,
          firmware: instance.firmware,
          serial,
          readBytes,
          answered: agent !== undefined,
          resets,
          status: await guestStatus(guest),
          spokeMs: spokeAt === undefined ? undefined : now - spokeAt,
          readMs: readAt === undefined ? undefined : now - readAt,
          elapsedMs: now - begin,
          timeoutMs: timeoutSeconds * 1000,
        });
        const seen = { readBytes, serialBytes: octets.length };
        if (judged.verdict === 'booting') {
          this.#report({ state: 'booting', ...seen });
          continue;
        }
        context.log.info('a copy was booted in isolation', { instance: instance.name, verdict: judged.verdict, ...seen });
        if (judged.verdict === 'alive') return this.#report({ state: 'alive', observed: judged.observed, ...seen });
        return this.#report({ state: 'dead', reason: judged.reason, serialTail: tailOf(octets), ...seen });
      }
    } finally {
      stopListening();
    }
  }
}

/** What a person can read of the end of a console. */
function tailOf(octets: Buffer): string {
  const text = octets.subarray(Math.max(0, octets.length - tailBytes)).toString('utf8');
  return text.replaceAll(/[^\t\n\x20-\x7e\u00a0-\uffff]/g, '').slice(-tailBytes);
}

function pathsIn(directory: string, runtime: string): GuestPaths {
  return {
    qmp: join(runtime, 'qmp'),
    moverQmp: join(runtime, 'mover'),
    pid: join(runtime, 'pid'),
    log: join(runtime, 'log'),
    serial: join(directory, 'serial.log'),
    console: join(runtime, 'tty'),
    vnc: join(runtime, 'vnc'),
    agent: join(runtime, 'agent'),
  };
}

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
