import { type DesiredInstance, isBooted, type ObservedInstance } from '@virt8ra/contract';
import type { NextLook } from '../desired/converger.js';
import { stillFull } from '../disk/room.js';
import type { HostContext } from '../host-context.js';
import { guestStatus, stillStates } from '../qemu/guest.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { GuestNetworks } from './guest-networks.js';
import type { GuestProcesses } from './guest-processes.js';
import type { GuestSights } from './guest-sights.js';
import type { InstancePosts } from './instance-posts.js';
import type { InstanceStore } from './instance-store.js';
import { runningProblem } from './instance-view.js';
import { withEnd } from './restart-policy.js';
import { noteStart, resumeGuest } from './resume-guest.js';
import { differencesOf } from './started-with.js';
import type { TransferClaims } from './transfer-claims.js';

const youngMs = 2 * 60_000;

/** Keeps guests running that have a process and may run. */
export class GuestKeeper {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #claims: Pick<TransferClaims, 'claimOn'>;
  readonly #networks: GuestNetworks;
  readonly #volumes: Pick<VolumeStore, 'pool' | 'room'>;
  readonly #processes: GuestProcesses;
  readonly #sights: GuestSights;
  readonly #posts: InstancePosts;

  constructor(
    context: HostContext,
    store: InstanceStore,
    claims: Pick<TransferClaims, 'claimOn'>,
    networks: GuestNetworks,
    parts: {
      readonly volumes: Pick<VolumeStore, 'pool' | 'room'>;
      readonly processes: GuestProcesses;
      readonly sights: GuestSights;
      readonly posts: InstancePosts;
    },
  ) {
    this.#context = context;
    this.#store = store;
    this.#claims = claims;
    this.#networks = networks;
    this.#volumes = parts.volumes;
    this.#processes = parts.processes;
    this.#sights = parts.sights;
    this.#posts = parts.posts;
  }

  /** One look at a guest that may run: it goes on if it stands still, gets its disks, and is told of. Answers when to look again. */
  async keep(desired: DesiredInstance): Promise<NextLook> {
    const { key, instance } = desired;
    const { clock, pci, permits } = this.#context;
    const guest = this.#processes.get(key);
    if (guest === undefined) return 0;
    const record = this.#store.get(key);
    if (record !== undefined && desired.restarts > record.restarts) {
      await this.#processes.stop(desired);
      return 0;
    }
    let status = await guestStatus(guest);
    if (status === 'shutdown') {
      await this.#processes.quit(key);
      const left = this.#store.get(key);
      if (left !== undefined) await this.#store.write(withEnd(left, 'guest', clock.wallMs()));
      this.#context.log.info('a guest switched itself off', { instance });
      return 0;
    }
    const held = this.#claims.claimOn(key) === 'paused';
    // A write that a full pool refuses stops a guest cleanly; one that finds no metadata for it does not: guests are stopped before.
    const apart = this.#volumes.pool !== undefined;
    let starved = status === 'io-error' || apart ? await stillFull(this.#volumes.room) : undefined;
    if (status === 'running' && starved !== undefined && this.#claims.claimOn(key) === undefined) {
      await guest.monitor.run('stop');
      this.#context.log.warn('a guest was paused before the pool of its disks is full', { instance, reason: starved });
      status = await guestStatus(guest);
    }
    if (stillStates.includes(status) && !held && starved === undefined && record !== undefined) {
      const still = { desired, guest, record };
      if (status === 'prelaunch') await this.#plug(desired);
      if (!(await resumeGuest(this.#context, this.#networks, still)).ok) return 0;
      if (status === 'prelaunch') await noteStart(this.#context, this.#store, still);
      status = await guestStatus(guest);
    }
    const disksMs = await this.#sights.look(desired, guest, held);
    const pausedState: ObservedInstance['state'] = status === 'running' ? 'running' : 'paused';
    if (status === 'io-error') starved ??= 'the guest is paused because its disk could not be written; it is tried again';
    const problem = runningProblem(starved, await pci.fault(key), differencesOf(record?.launch?.started, desired).length > 0);
    this.#posts.post(desired, { state: pausedState, ...(problem === undefined ? {} : { problem }) });
    const startedAt = Date.parse(this.#store.get(key)?.startedAt ?? '');
    // Whoever waits for it to boot is told at once; one that has booted tells of itself by events.
    const young = clock.wallMs() - startedAt < youngMs && !isBooted(this.#sights.of(key).life);
    const expiryMs = desired.permit === undefined ? 0 : permits.remainingMs(desired.permit, record?.anchor);
    const nextMs = Math.min(starved === undefined ? (young ? 1_000 : 15_000) : 2_000, disksMs ?? 15_000);
    return Math.max(Math.min(nextMs, expiryMs), 1);
  }

  /** A guest whose NICs cannot be connected under their rules never runs; the next start makes its taps anew. */
  async #plug(desired: DesiredInstance): Promise<void> {
    try {
      await this.#networks.plug(desired);
    } catch (error) {
      await this.#processes.quit(desired.key);
      throw error;
    }
  }
}
