import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DesiredBootProbe, ObservedBootProbe } from '@virt8ra/contract';
import { makeDirectory } from '../disk/atomic-file.js';
import type { HostContext } from '../host-context.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { BootProbe } from './boot-probe.js';

/** Boots of copies that arrive at this host, one for each transfer at most. An agent that starts anew begins them anew. */
export class BootProbes {
  readonly #context: HostContext;
  readonly #volumes: VolumeStore;
  readonly #report: (transferId: string, observed: ObservedBootProbe | undefined) => void;
  readonly #probes = new Map<string, BootProbe>();

  /** `report` hears what is seen of a probe; undefined: there is none any more. */
  constructor(context: HostContext, volumes: VolumeStore, report: (transferId: string, observed: ObservedBootProbe | undefined) => void) {
    this.#context = context;
    this.#volumes = volumes;
    this.#report = report;
  }

  /** Begins what is desired, once for each request, and ends what is not. */
  async follow(transferId: string, desired: DesiredBootProbe | undefined): Promise<void> {
    const running = this.#probes.get(transferId);
    if (running?.request === desired?.request) return;
    await this.end(transferId);
    if (desired === undefined) return;
    const name = `p-${createHash('sha256').update(transferId).digest('hex').slice(0, 12)}`;
    const parts = {
      context: this.#context,
      volumes: this.#volumes,
      directory: join(this.#folder, name),
      runtimeDirectory: join(this.#context.config.runtimeDirectory, name),
      report: (observed: ObservedBootProbe) => this.#report(transferId, observed),
    };
    this.#probes.set(transferId, new BootProbe(parts, desired));
  }

  /** Returns when nothing of it is left. */
  async end(transferId: string): Promise<void> {
    const probe = this.#probes.get(transferId);
    if (probe === undefined) return;
    await probe.end();
    this.#probes.delete(transferId);
    this.#report(transferId, undefined);
  }

  /** Takes away what earlier agents left; their processes ended with them. */
  async sweep(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
    await makeDirectory(this.#folder, 0o711);
  }

  get #folder(): string {
    return join(this.#context.config.stateDirectory, 'probes');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#probes.values()].map(async (probe) => await probe.end()));
  }
}
