import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { DesiredInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import { type Guest, lastWords, quitGuest, shutDownGuest } from '../qemu/guest.js';
import { watchEnd } from '../qemu/watch-end.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { isAlive } from '../system/process-identity.js';
import { adoptGuests } from './adoption.js';
import { desiredInstance } from './desired-instance.js';
import type { GuestNetworks } from './guest-networks.js';
import type { GuestSights } from './guest-sights.js';
import { guestPaths, startGuest } from './guest-starter.js';
import { dropTaps } from './guest-taps.js';
import type { InstancePosts } from './instance-posts.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { withEnd, withoutEnds } from './restart-policy.js';
import type { TransferClaims } from './transfer-claims.js';

/** The processes of this host's guests: started, watched, and ended with nothing of them left. Decides nothing. */
export class GuestProcesses {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #volumes: VolumeStore;
  readonly #claims: Pick<TransferClaims, 'isArriving'>;
  readonly #networks: GuestNetworks;
  readonly #guests: Map<string, Guest>;
  readonly #sights: GuestSights;
  readonly #posts: InstancePosts;

  constructor(
    context: HostContext,
    stores: { readonly store: InstanceStore; readonly volumes: VolumeStore },
    claims: Pick<TransferClaims, 'isArriving'>,
    networks: GuestNetworks,
    seen: { readonly guests: Map<string, Guest>; readonly sights: GuestSights; readonly posts: InstancePosts },
  ) {
    this.#context = context;
    this.#store = stores.store;
    this.#volumes = stores.volumes;
    this.#claims = claims;
    this.#networks = networks;
    this.#guests = seen.guests;
    this.#sights = seen.sights;
    this.#posts = seen.posts;
  }

  /** Takes over the guests that an earlier agent left running. */
  async adopt(): Promise<void> {
    for (const [key, guest] of await adoptGuests(this.#context, this.#store, this.#networks)) this.#keep(key, guest);
  }

  get(key: string): Guest | undefined {
    return this.#guests.get(key);
  }

  has(key: string): boolean {
    return this.#guests.has(key);
  }

  /** Starts an instance's process, paused. Raises what startGuest raises; nothing is left then. */
  async launch(desired: DesiredInstance, record: InstanceRecord): Promise<void> {
    const { key, restarts } = desired;
    this.#posts.post(desired, { state: 'starting' });
    try {
      this.#keep(key, await startGuest(this.#context, this.#store, this.#volumes, desired, { ...record, restarts }, this.#networks));
    } catch (error) {
      await this.gone(key);
      throw error;
    }
  }

  /** Has the guest shut itself down, and ends it after `graceMs`, or when its permit ends. */
  async stop(desired: DesiredInstance, graceMs = this.graceMs(desired)): Promise<void> {
    const { key } = desired;
    const guest = this.#guests.get(key);
    if (guest === undefined) return;
    this.#posts.post(desired, { state: 'stopping' });
    const how = await shutDownGuest(guest, Math.min(graceMs, this.#permittedMs(desired)));
    await this.gone(key);
    const record = this.#store.get(key);
    if (record !== undefined)
      await this.#store.write({ ...withoutEnds(record), lastEnd: { at: new Date(this.#context.clock.wallMs()).toISOString(), how } });
    this.#context.log.info('a guest was stopped', { instance: desired.instance, key, how });
  }

  /** Ends the process without asking the guest. */
  async quit(key: string): Promise<void> {
    const guest = this.#guests.get(key);
    if (guest !== undefined) await quitGuest(guest);
    await this.gone(key);
  }

  /** The process is gone: nothing of it is left. */
  async gone(key: string): Promise<void> {
    const guest = this.#guests.get(key);
    this.#guests.delete(key);
    this.#sights.forget(key);
    guest?.monitor.close();
    await this.#context.pci.revoke(key);
    const record = this.#store.get(key);
    const nicKeys = record?.launch?.nicKeys ?? desiredInstance(this.#context, key)?.nics.map((nic) => nic.key) ?? [];
    await dropTaps(this.#context, this.#networks, nicKeys);
    await rm(dirname(guestPaths(this.#context, this.#store, key).qmp), { recursive: true, force: true });
    if (record?.launch !== undefined) {
      const { launch: _, startedAt: __, ...rest } = record;
      await this.#store.write(rest);
    }
  }

  /** A process that ended without being told to is a crash; so is one that a reboot took away. */
  async noticeExit(key: string, desired?: DesiredInstance): Promise<void> {
    const record = this.#store.get(key);
    if (record?.launch === undefined) return;
    const guest = this.#guests.get(key);
    if (guest !== undefined && (await isAlive(guest.process))) return;
    const { clock, log } = this.#context;
    const arriving = this.#claims.isArriving(key);
    const { log: said } = guestPaths(this.#context, this.#store, key);
    if (arriving) log.warn('a receiving process ended by itself', { instance: record.instance, said: await lastWords(said) });
    await this.gone(key);
    if (arriving) return;
    const how = record.launch.bootId === clock.bootId ? 'process' : 'host';
    const ended = withEnd(this.#store.get(key) ?? record, how, clock.wallMs());
    await this.#store.write(ended);
    const { instance } = record;
    if (how === 'host') return log.info('the host was restarted under a guest', { instance });
    log.warn('a guest’s process ended by itself', { instance, crashes: ended.crashes.length });
    if (desired !== undefined)
      this.#posts.post(desired, { state: 'crashed', problem: { code: 'internal', message: 'the guest’s process ended by itself' } });
  }

  /** Milliseconds a guest has to shut down by itself. */
  graceMs(desired: DesiredInstance): number {
    return (desired.stopSeconds ?? this.#context.config.shutdownSeconds) * 1000;
  }

  /** Milliseconds for which the guest may go on at all. */
  #permittedMs({ key, permit }: DesiredInstance): number {
    return permit === undefined ? Number.POSITIVE_INFINITY : this.#context.permits.remainingMs(permit, this.#store.get(key)?.anchor);
  }

  #keep(key: string, guest: Guest): void {
    this.#guests.set(key, guest);
    const look = () => this.#context.nudge({ type: 'instance', key });
    guest.monitor.onEvent(({ event }) => {
      if (['SHUTDOWN', 'STOP', 'RESUME', 'RESET', 'BLOCK_IO_ERROR', 'DEVICE_DELETED', 'DEVICE_UNPLUG_GUEST_ERROR'].includes(event)) look();
      if (event !== 'JOB_STATUS_CHANGE') return;
      for (const volumeKey of this.#store.get(key)?.launch?.volumeKeys ?? [])
        if (volumeKey !== null) this.#context.nudge({ type: 'volume', key: volumeKey });
    });
    void watchEnd(guest, () => this.#guests.get(key) === guest, look);
  }
}
