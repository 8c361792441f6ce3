import type { DesiredInstance } from '@virt8ra/contract';
import type { GuestInquiry } from '../guest-agent/guest-inquiry.js';
import type { HostContext } from '../host-context.js';
import { bytesRead, type Guest } from '../qemu/guest.js';
import { tendSerialLog } from '../qemu/serial-log.js';
import type { DiskTender } from './disk-tender.js';
import type { InstanceStore } from './instance-store.js';
import type { InstanceFacts } from './instance-view.js';

const processLogBytes = 256 * 1024;

/** What is seen of running guests at each look, and told of them until the next. */
export class GuestSights {
  readonly #dedicated: HostContext['dedicated'];
  readonly #store: InstanceStore;
  readonly #tender: DiskTender;
  readonly #inquiry: GuestInquiry;
  readonly #sights = new Map<string, Pick<InstanceFacts, 'life' | 'disks' | 'cpus'>>();

  constructor(context: Pick<HostContext, 'dedicated'>, store: InstanceStore, tender: DiskTender, inquiry: GuestInquiry) {
    this.#dedicated = context.dedicated;
    this.#store = store;
    this.#tender = tender;
    this.#inquiry = inquiry;
  }

  /** Looks for signs of life and where its processors run, and gives and takes disks unless the guest is `held` as it is. Answers when its disks are to be looked at again. */
  async look(desired: DesiredInstance, guest: Guest, held: boolean): Promise<number | undefined> {
    const { key } = desired;
    const life = await this.#lifeOf(key, guest);
    if (!held) void this.#inquiry.tend(key, guest);
    const cpus = await this.#dedicated.hold(key, guest);
    const tended = held ? undefined : await this.#tender.tend(desired, guest);
    const before = this.of(key);
    this.#sights.set(key, { life: life ?? before.life, disks: tended === undefined ? before.disks : [...tended.disks], cpus });
    return tended?.lookMs;
  }

  of(key: string): Pick<InstanceFacts, 'life' | 'disks' | 'cpus' | 'word'> {
    return { ...(this.#sights.get(key) ?? { life: undefined, disks: undefined, cpus: undefined }), word: this.#inquiry.of(key) };
  }

  forget(key: string): void {
    this.#sights.delete(key);
    this.#inquiry.forget(key);
  }

  async #lifeOf(key: string, guest: Guest): Promise<InstanceFacts['life']> {
    const { bytes, dropped } = await tendSerialLog(guest.paths.serial);
    await tendSerialLog(guest.paths.log, processLogBytes);
    const record = this.#store.get(key);
    if (record === undefined) return undefined;
    const serialDropped = record.serialDropped + dropped;
    if (dropped > 0) await this.#store.write({ ...record, serialDropped });
    return { readBytes: await bytesRead(guest), serialBytes: serialDropped + bytes };
  }
}
