import { Problem } from '@virt8ra/contract';
import type { Flavor } from './schema.js';

export interface Size {
  readonly vCPU: number;
  readonly memoryMiB: number;
  /** GiB that its boot disk takes of the flavour; undefined: the boot disk is a volume. */
  readonly localDiskGiB: number | undefined;
}

/** A flavour may have this many times what was asked for, and not more. */
export const mostOvershoot = 2;

/** The smallest flavour that has at least what is asked for. Raises `unsupported` that names the nearest. */
export function chooseFlavor(flavors: readonly Flavor[], size: Size): Flavor {
  const usable = flavors.filter((flavor) => flavor['OS-FLV-DISABLED:disabled'] !== true);
  const enough = usable
    .filter(
      ({ vcpus, ram, disk }) =>
        vcpus >= size.vCPU && ram >= size.memoryMiB && (size.localDiskGiB === undefined || disk >= size.localDiskGiB),
    )
    .toSorted((a, b) => waste(a, size) - waste(b, size) || a.disk - b.disk || (a.id < b.id ? -1 : 1));
  const [best] = enough;
  const asked = `${size.vCPU} vCPU, ${size.memoryMiB} MiB${size.localDiskGiB === undefined ? '' : ` and a disk of ${size.localDiskGiB} GiB`}`;
  if (best === undefined) throw new Problem('unsupported', `the cloud has no flavour with ${asked}`);
  if (best.vcpus > size.vCPU * mostOvershoot || best.ram > size.memoryMiB * mostOvershoot)
    throw new Problem(
      'unsupported',
      `the cloud has no flavour near ${asked}; the nearest is ${best.name} with ${best.vcpus} vCPU, ${best.ram} MiB and ${best.disk} GiB`,
    );
  return best;
}

function waste({ vcpus, ram }: Flavor, { vCPU, memoryMiB }: Size): number {
  return vcpus / vCPU + ram / memoryMiB;
}
