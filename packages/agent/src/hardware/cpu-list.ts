/** The kernel's notation for sets of hardware threads (cpuset(7), "List format"): `0-3,8`. */

/** In rising order, none twice; undefined for what is not a list. */
export function cpusFromList(text: string): readonly number[] | undefined {
  const cpus = new Set<number>();
  for (const part of text.trim().split(',')) {
    const [, first, last = first] = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part) ?? [];
    if (first === undefined || Number(first) > Number(last)) return undefined;
    for (let cpu = Number(first); cpu <= Number(last); cpu += 1) cpus.add(cpu);
  }
  return [...cpus].sort((a, b) => a - b);
}

export function listFromCpus(cpus: readonly number[]): string {
  return [...cpus].sort((a, b) => a - b).join(',');
}
