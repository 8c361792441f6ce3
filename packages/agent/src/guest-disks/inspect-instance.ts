import { createHash } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type GuestInspection, Problem, toProblem } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import { GuestPoints } from '../mover/guest-points.js';
import type { Guest } from '../qemu/guest.js';
import { connectMonitor, type Monitor } from '../qemu/monitor.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { coldSource, type MovedGuests, warmSource } from '../transfer/send-source.js';
import type { GuestDisks } from './guest-disks.js';

const inspectMs = 900_000;

export interface InspectionParts {
  readonly context: HostContext;
  readonly volumes: VolumeStore;
  readonly guestDisks: GuestDisks;
  readonly guests: MovedGuests;
}

/** Inspections of the guests of this host, kept in memory with their time: a plan that is looked at again costs nothing. */
export class GuestInspections {
  readonly #parts: InspectionParts;
  readonly #made = new Map<string, GuestInspection>();
  readonly #making = new Map<string, Promise<GuestInspection>>();

  constructor(parts: InspectionParts) {
    this.#parts = parts;
  }

  /**
   * What the disks of an instance say, no older than that. Raises Problem unsupported where this host cannot look into them, conflict while the instance is being moved or its
   * disks are not whole.
   */
  async of(instanceKey: string, maxAgeSeconds: number): Promise<GuestInspection> {
    const { wallMs } = this.#parts.context.clock;
    const made = this.#made.get(instanceKey);
    if (made !== undefined && wallMs() - Date.parse(made.at) <= maxAgeSeconds * 1000) return made;
    const known = this.#making.get(instanceKey);
    if (known !== undefined) return await known;
    const making = this.#inspect(instanceKey).finally(() => this.#making.delete(instanceKey));
    this.#making.set(instanceKey, making);
    const inspection = await making;
    const present = new Set(this.#parts.context.ledger.state.instances.map(({ key }) => key));
    for (const key of this.#made.keys()) if (!present.has(key)) this.#made.delete(key);
    this.#made.set(instanceKey, inspection);
    return inspection;
  }

  /** Takes away what an earlier agent left in guests, that was ended while it looked. Never raises. */
  async sweep(): Promise<void> {
    const { context } = this.#parts;
    for (const { key } of context.ledger.state.instances)
      await this.#sweep(key).catch((error: unknown) =>
        context.log.warn('what an inspection left is still there', { instance: key, problem: toProblem(error).message }),
      );
  }

  async #sweep(key: string): Promise<void> {
    const { directory, runtimeDirectory } = this.#folders(key);
    const left = await stat(directory).then(
      () => true,
      () => false,
    );
    if (!left) return;
    const guest = this.#parts.guests.guest(key);
    if (guest !== undefined) {
      const monitor = await connectMonitor(guest.paths.moverQmp);
      try {
        const nodes = (await monitor.run('query-named-block-nodes', { flat: true })) as {
          readonly 'node-name': string;
          readonly 'dirty-bitmaps'?: unknown;
        }[];
        const disks = nodes
          .filter((node) => node['dirty-bitmaps'] !== undefined)
          .map((node) => ({ node: node['node-name'], sizeBytes: 0 }));
        await this.#points(key, guest, monitor, disks, AbortSignal.timeout(inspectMs)).clear();
      } finally {
        monitor.close();
      }
    }
    for (const folder of [directory, runtimeDirectory]) await rm(folder, { recursive: true, force: true });
  }

  #folders(instanceKey: string): { readonly directory: string; readonly runtimeDirectory: string } {
    const name = createHash('sha256').update(instanceKey).digest('hex').slice(0, 8);
    const { stateDirectory, runtimeDirectory } = this.#parts.context.config;
    return { directory: join(stateDirectory, 'guest-disks', `view-${name}`), runtimeDirectory: join(runtimeDirectory, `i-${name}`) };
  }

  #points(
    instanceKey: string,
    guest: Guest,
    monitor: Monitor,
    disks: readonly { readonly node: string; readonly sizeBytes: number }[],
    signal: AbortSignal,
  ): GuestPoints {
    const transferId = `inspect-${instanceKey}`;
    return new GuestPoints({ monitor, qmpSocket: guest.paths.moverQmp, transferId, disks, ...this.#folders(instanceKey), signal });
  }

  async #inspect(instanceKey: string): Promise<GuestInspection> {
    const { context, volumes, guestDisks, guests } = this.#parts;
    const lack = await guestDisks.lack();
    if (lack !== undefined) throw new Problem('unsupported', lack);
    const { state } = context.ledger;
    const instance = state.instances.find(({ key }) => key === instanceKey);
    if (instance === undefined) throw new Problem('not-found', 'the instance is not on this host (any more)');
    if (state.transfers.some((transfer) => 'instanceKey' in transfer && transfer.instanceKey === instanceKey))
      throw new Problem('conflict', 'the instance is being moved, and its disks are not looked into meanwhile');
    const disks = instance.volumeKeys.map((volumeKey) => ({ volumeKey, sizeBytes: volumes.get(volumeKey)?.sizeBytes ?? 0 }));
    const at = new Date(context.clock.wallMs()).toISOString();
    const signal = AbortSignal.timeout(inspectMs);
    const guest = guests.guest(instanceKey);
    if (guest !== undefined) return { at, facts: await this.#inspectRunning(instanceKey, guest, disks, signal) };
    const source = coldSource({ instanceKey, disks }, volumes, guests);
    if (source === undefined) throw new Problem('unavailable', 'the instance is about to start; look again');
    return {
      at,
      facts: await guestDisks.inspect(
        source.disks.map(({ files }) => ({ files })),
        signal,
      ),
    };
  }

  /** A frozen view of all disks at one point, which the guest's own process serves; it goes on meanwhile. */
  async #inspectRunning(
    instanceKey: string,
    guest: Guest,
    disks: readonly { readonly volumeKey: string; readonly sizeBytes: number }[],
    signal: AbortSignal,
  ): Promise<GuestInspection['facts']> {
    const { guestDisks, guests } = this.#parts;
    const source = await warmSource({ instanceKey, disks: [...disks] }, guests);
    if (source === undefined) throw new Problem('unavailable', 'the disks of the instance are being merged; look again');
    const { directory, runtimeDirectory } = this.#folders(instanceKey);
    for (const folder of [directory, runtimeDirectory]) await mkdir(folder, { recursive: true, mode: 0o711 });
    const qmpSocket = guest.paths.moverQmp;
    const { uid, gid } = await stat(qmpSocket);
    const monitor = await connectMonitor(qmpSocket);
    try {
      const points = this.#points(instanceKey, guest, monitor, source.disks, signal);
      await points.adopt();
      await points.clear();
      try {
        const point = await points.take(0, false);
        const facts = await guestDisks.inspect(points.exportsOf(0), signal, { uid, gid }).catch((error: unknown) => {
          throw point.starved() ?? error;
        });
        await point.drop();
        return facts;
      } finally {
        await points.clear();
      }
    } finally {
      monitor.close();
      for (const folder of [directory, runtimeDirectory]) await rm(folder, { recursive: true, force: true });
    }
  }
}
