import type { Guest } from '../qemu/guest.js';
import type { MachineShape } from './messages.js';

interface PciBus {
  readonly bus: number;
  readonly devices: readonly {
    readonly slot: number;
    readonly function: number;
    readonly id: { readonly vendor: number; readonly device: number };
  }[];
}

/** What a hypervisor says of its machine, in the form in which both ends of a move compare it. */
export async function machineShape(guest: Guest): Promise<MachineShape> {
  const { monitor } = guest;
  const buses = (await monitor.run('query-pci')) as readonly PciBus[];
  const blocks = (await monitor.run('query-block')) as readonly {
    readonly qdev?: string;
    readonly inserted?: { readonly image?: { readonly 'virtual-size'?: number } };
  }[];
  const memory = (await monitor.run('query-memory-size-summary')) as { readonly 'base-memory': number };
  return {
    devices: (buses.find(({ bus }) => bus === 0)?.devices ?? []).map(
      ({ slot, function: part, id }) => `${slot}.${part} ${id.vendor.toString(16)}:${id.device.toString(16)}`,
    ),
    // The seed is another file at each host, and of no weight: a guest reads it once.
    disks: blocks.flatMap(({ qdev, inserted }) =>
      qdev === undefined || qdev.includes('/seed0/') ? [] : [`${qdev} ${inserted?.image?.['virtual-size'] ?? 0}`],
    ),
    memoryBytes: memory['base-memory'],
  };
}

/** Bytes that the guest's disks take on this host, the seed not counted. */
export async function contentBytes(guest: Guest): Promise<number> {
  const blocks = (await guest.monitor.run('query-block')) as readonly {
    readonly qdev?: string;
    readonly inserted?: { readonly image?: ImageInfo };
  }[];
  return blocks
    .filter(({ qdev }) => qdev !== undefined && !qdev.includes('/seed0/'))
    .reduce((sum, { inserted }) => sum + takenBytes(inserted?.image), 0);
}

interface ImageInfo {
  readonly 'actual-size'?: number;
  readonly 'backing-image'?: ImageInfo;
}

function takenBytes(image: ImageInfo | undefined): number {
  return image === undefined ? 0 : (image['actual-size'] ?? 0) + takenBytes(image['backing-image']);
}

/** In what two machines differ, for a person; undefined when they are alike. */
export function shapeFault(source: MachineShape, target: MachineShape): string | undefined {
  if (source.memoryBytes !== target.memoryBytes) return `its memory has ${source.memoryBytes} bytes there and ${target.memoryBytes} here`;
  for (const part of ['disks', 'devices'] as const) {
    const there = source[part].filter((entry) => !target[part].includes(entry));
    const here = target[part].filter((entry) => !source[part].includes(entry));
    if (there.length > 0 || here.length > 0)
      return `its ${part} differ: ${there.join(', ') || 'none'} only there, ${here.join(', ') || 'none'} only here`;
  }
  return undefined;
}
