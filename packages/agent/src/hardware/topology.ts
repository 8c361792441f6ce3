import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readText } from '../disk/atomic-file.js';
import { cpusFromList } from './cpu-list.js';

/** A hardware thread, with the core it shares and the NUMA node whose memory is nearest to it. */
export interface HardwareThread {
  readonly cpu: number;
  /** The lowest thread of its core. */
  readonly core: number;
  readonly node: number;
}

/** The threads that are online, as the kernel has them under `root` (`/sys/devices/system`). */
export async function readThreads(root = '/sys/devices/system'): Promise<readonly HardwareThread[]> {
  const online = cpusFromList((await readText(join(root, 'cpu/online'))) ?? '') ?? [];
  const nodes = (await readdir(join(root, 'node')).catch((): string[] => [])).filter((name) => /^node\d+$/.test(name));
  const nodeOf = new Map<number, number>();
  for (const name of nodes) {
    const cpus = cpusFromList((await readText(join(root, 'node', name, 'cpulist'))) ?? '') ?? [];
    for (const cpu of cpus) nodeOf.set(cpu, Number(name.slice(4)));
  }
  return await Promise.all(
    online.map(async (cpu) => {
      const siblings = cpusFromList((await readText(join(root, `cpu/cpu${cpu}/topology/thread_siblings_list`))) ?? '');
      return { cpu, core: siblings?.[0] ?? cpu, node: nodeOf.get(cpu) ?? 0 };
    }),
  );
}
