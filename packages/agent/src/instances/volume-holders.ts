import type { HostContext } from '../host-context.js';
import type { Guest } from '../qemu/guest.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { InstanceStore } from './instance-store.js';
import type { TransferClaims } from './transfer-claims.js';

/** Which guests have which volumes, or may have them. */
export class VolumeHolders {
  readonly #context: HostContext;
  readonly #store: InstanceStore;
  readonly #volumes: VolumeStore;
  readonly #guests: ReadonlyMap<string, Guest>;
  readonly #claims: Pick<TransferClaims, 'keptFromGuests'>;

  constructor(
    context: HostContext,
    store: InstanceStore,
    volumes: VolumeStore,
    guests: ReadonlyMap<string, Guest>,
    claims: Pick<TransferClaims, 'keptFromGuests'>,
  ) {
    this.#context = context;
    this.#store = store;
    this.#volumes = volumes;
    this.#guests = guests;
    this.#claims = claims;
  }

  /** The running guest that has a volume as one of its disks, and at which of its places. */
  guestWith(volumeKey: string): { readonly key: string; readonly guest: Guest; readonly index: number } | undefined {
    for (const [key, guest] of this.#guests) {
      const index = this.#store.get(key)?.launch?.volumeKeys.indexOf(volumeKey) ?? -1;
      if (index >= 0) return { key, guest, index };
    }
    return undefined;
  }

  /** True while a process may have it open, whether it can be spoken to or not. */
  uses(volumeKey: string): boolean {
    return this.#holder(volumeKey) !== undefined;
  }

  /** Why a guest may not have a volume yet that is not its disk. */
  missing(volumeKey: string): string | undefined {
    const stage = this.#volumes.get(volumeKey)?.stage;
    if (stage !== 'ready' && stage !== 'arrived') return `volume ${volumeKey}`;
    const kept = this.#claims.keptFromGuests(volumeKey);
    if (kept !== undefined) return `volume ${volumeKey} ${kept}`;
    const holder = this.#holder(volumeKey);
    if (holder !== undefined) return `volume ${volumeKey}, which the guest of ${holder.instance} has not let go of`;
    return this.#context.board.get('volume', volumeKey)?.state === 'settling' ? `volume ${volumeKey} to settle` : undefined;
  }

  #holder(volumeKey: string): { readonly instance: string } | undefined {
    return this.#store.all().find(({ launch }) => launch?.volumeKeys.includes(volumeKey) === true || launch?.rescueVolumeKey === volumeKey);
  }
}
