import { join } from 'node:path';
import { type HugePageSize, hugePageSizes } from '@virt8ra/contract';
import { readText } from '../disk/atomic-file.js';

/** Huge pages that the kernel keeps, in MiB. */
export interface HugePages {
  readonly size: HugePageSize;
  readonly totalMiB: number;
  /** In nobody's hands and promised to nobody. */
  readonly freeMiB: number;
}

const pageMiB: Readonly<Record<HugePageSize, number>> = { '2Mi': 2, '1Gi': 1024 };

/** The sizes of which the kernel keeps any, as it has them under `root` (hugetlbpage.rst). */
export async function readHugePages(root = '/sys/kernel/mm/hugepages'): Promise<readonly HugePages[]> {
  const found: HugePages[] = [];
  for (const size of hugePageSizes) {
    const count = async (name: string) => Number((await readText(join(root, `hugepages-${pageMiB[size] * 1024}kB`, name))) ?? 0);
    const total = await count('nr_hugepages');
    const free = Math.max((await count('free_hugepages')) - (await count('resv_hugepages')), 0);
    if (total > 0) found.push({ size, totalMiB: total * pageMiB[size], freeMiB: free * pageMiB[size] });
  }
  return found;
}
