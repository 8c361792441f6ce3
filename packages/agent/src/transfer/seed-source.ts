import { Problem, type TransferSeed, toProblem } from '@virt8ra/contract';
import { troubleFrom } from '../host-context.js';
import { inspectImage } from '../storage/qemu-img.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { SeedSource } from './mover-port.js';

export interface SeedPlaces {
  readonly volumes: Pick<VolumeStore, 'get' | 'files'>;
  /** Path of a complete image; undefined when this host does not keep it. */
  heldImage(sha256: string): Promise<string | undefined>;
}

/** Where a seed's content lies on this host, or why there is none. */
export async function seedSource(seed: TransferSeed, { volumes, heldImage }: SeedPlaces): Promise<SeedSource> {
  try {
    if ('volumeKey' in seed) {
      const stage = volumes.get(seed.volumeKey)?.stage;
      if (stage !== 'ready' && stage !== 'arrived')
        throw new Problem('not-found', `volume ${seed.volumeKey}, which the disk was to begin as, is not whole on this host`);
      const { base, overlay } = volumes.files(seed.volumeKey);
      return { files: stage === 'arrived' ? [overlay, base] : [base], format: 'qcow2' };
    }
    const { sha256, format } = seed;
    const path = await heldImage(sha256);
    if (path === undefined) throw new Problem('not-found', `image ${sha256}, which the disk was to begin as, is not kept on this host`);
    // One that refers to other files must not be opened.
    await inspectImage(path, format);
    return { files: [path], format };
  } catch (error) {
    return { problem: troubleFrom(toProblem(error)) };
  }
}
