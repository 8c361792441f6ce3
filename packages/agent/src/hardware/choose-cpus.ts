import type { HardwareThread } from './topology.js';

/**
 * Threads for a guest out of those that are free: of one NUMA node where that is possible, the node with the least to spare, so that larger
 * guests find room later; whole cores before single threads, and the other half of a core that is begun already for what is left over. Undefined
 * when there are too few.
 */
export function chooseCpus(free: readonly HardwareThread[], count: number): readonly number[] | undefined {
  if (free.length < count) return undefined;
  const byNode = [...new Set(free.map(({ node }) => node))]
    .map((node) => free.filter((thread) => thread.node === node))
    .sort((a, b) => a.length - b.length || (a[0]?.node ?? 0) - (b[0]?.node ?? 0));
  const enough = byNode.find((threads) => threads.length >= count);
  const chosen: number[] = [];
  for (const threads of enough === undefined ? byNode.reverse() : [enough]) chosen.push(...fromCores(threads, count - chosen.length));
  return chosen;
}

function fromCores(threads: readonly HardwareThread[], count: number): number[] {
  const cores = [...new Set(threads.map(({ core }) => core))].map((core) => threads.filter((thread) => thread.core === core));
  const chosen: number[] = [];
  for (;;) {
    const left = count - chosen.length;
    if (left <= 0 || cores.length === 0) return chosen;
    // The largest that fits as a whole; else the smallest, which leaves whole ones to others.
    cores.sort(
      (a, b) => Number(b.length <= left) - Number(a.length <= left) || (a.length <= left ? b.length - a.length : a.length - b.length),
    );
    const next = cores.shift() ?? [];
    chosen.push(...next.slice(0, left).map(({ cpu }) => cpu));
  }
}
