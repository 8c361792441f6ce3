import type { DesiredInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { Guest } from '../qemu/guest.js';
import type { GuestNetworks } from './guest-networks.js';
import type { GuestSights } from './guest-sights.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { type InstanceNow, observedInstance } from './instance-view.js';

/** Tells the control plane what is seen of this host's instances. */
export class InstancePosts {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #networks: GuestNetworks;
  readonly #guests: ReadonlyMap<string, Guest>;
  readonly #sights: GuestSights;

  constructor(
    context: HostContext,
    store: InstanceStore,
    networks: GuestNetworks,
    guests: ReadonlyMap<string, Guest>,
    sights: GuestSights,
  ) {
    this.#context = context;
    this.#store = store;
    this.#networks = networks;
    this.#guests = guests;
    this.#sights = sights;
  }

  post(desired: DesiredInstance, now: InstanceNow): void {
    const record = this.#store.get(desired.key);
    if (record !== undefined) this.#post(record, now, desired);
  }

  /** Of an instance that is not desired here any more, and may not be removed yet. */
  postLeftOver(record: InstanceRecord): void {
    this.#post(record, { state: this.#guests.has(record.key) ? 'running' : 'stopped' }, undefined);
  }

  #post(record: InstanceRecord, now: InstanceNow, desired: DesiredInstance | undefined): void {
    const { key } = record;
    const nics = desired === undefined ? [] : this.#networks.nicsSeen(desired);
    const facts = { record, desired, guest: this.#guests.get(key), nics, ...this.#sights.of(key) };
    this.#context.board.post('instance', key, observedInstance(this.#context, facts, now));
  }
}
