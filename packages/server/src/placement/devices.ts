/** PCI devices of hosts, counted: what an instance needs of them, what a host offers, and which of it one gets. */

/** `need` names what was asked for, so that what is claimed for it is known again when the size changes. */
export type DeviceNeed = { readonly need: string; readonly count: number } & (
  | { readonly by: 'id'; readonly id: string }
  | { readonly by: 'gpu'; readonly vendor: string; readonly model: string; readonly ram: number }
);

/** Equal devices of a host that guests may have, or have. */
export interface DeviceOffer {
  /** `vendor:device`. */
  readonly id: string;
  readonly name?: string | undefined;
  readonly gpu?: { readonly vendor: string; readonly model: string; readonly ram: number } | undefined;
  readonly count: number;
}

/** So many devices of an id, for what was needed. */
export interface DeviceClaim {
  readonly need: string;
  readonly id: string;
  readonly count: number;
}

export type DeviceCounts = Readonly<Record<string, number>>;

export type DeviceChoice =
  | { readonly type: 'chosen'; readonly devices: readonly DeviceClaim[] }
  | { readonly type: 'lacking'; readonly reason: string; readonly mend: string };

/**
 * Devices for all needs out of what a host offers beside what is `claimed` there; those for one need are all of one id. What is `held` already by the
 * same instance, and counted in `claimed`, is gone on with where it will do.
 */
export function chooseDevices(
  host: string,
  offers: readonly DeviceOffer[],
  claimed: DeviceCounts,
  needs: readonly DeviceNeed[],
  held: readonly DeviceClaim[] = [],
): DeviceChoice {
  const free = new Map(offers.map(({ id, count }) => [id, count - (claimed[id] ?? 0)]));
  for (const { id, count } of held) free.set(id, (free.get(id) ?? 0) + count);
  const devices: DeviceClaim[] = [];
  for (const wanted of needs) {
    const { need, count } = wanted;
    const before = held.find((each) => each.need === need)?.id;
    const fitting = offers.filter((offer) => suits(offer, wanted)).toSorted((a, b) => Number(b.id === before) - Number(a.id === before));
    const chosen = fitting.find(({ id }) => (free.get(id) ?? 0) >= count);
    if (chosen === undefined) return { type: 'lacking', ...lack(host, offers, fitting, free, wanted) };
    free.set(chosen.id, (free.get(chosen.id) ?? 0) - count);
    devices.push({ need, id: chosen.id, count });
  }
  return { type: 'chosen', devices };
}

/** By id, what a list of claims comes to. */
export function countDevices(claims: readonly DeviceClaim[]): DeviceCounts {
  const counts: Record<string, number> = {};
  for (const { id, count } of claims) counts[id] = (counts[id] ?? 0) + count;
  return counts;
}

/** Both together, the larger of each need: an instance keeps what it has until its guest has given it back. */
export function joinDevices(held: readonly DeviceClaim[], wanted: readonly DeviceClaim[]): readonly DeviceClaim[] {
  const same = (a: DeviceClaim, b: DeviceClaim) => a.need === b.need && a.id === b.id;
  return [
    ...wanted.map((each) => ({ ...each, count: Math.max(each.count, held.find((other) => same(other, each))?.count ?? 0) })),
    ...held.filter((each) => !wanted.some((other) => same(other, each))),
  ];
}

/** What of the claims a size needs; the rest is of an earlier one. */
export function devicesFor(claims: readonly DeviceClaim[], needs: readonly DeviceNeed[]): readonly DeviceClaim[] {
  return needs.flatMap(({ need, count }) => {
    // Of a need that changed its id on the way, the last one written is the newest.
    const claim = claims.find((each) => each.need === need && each.count >= count);
    return claim === undefined ? [] : [{ ...claim, count }];
  });
}

export function sayNeed(wanted: DeviceNeed): string {
  const { count } = wanted;
  if (wanted.by === 'id') return `${count} PCI device${count === 1 ? '' : 's'} ${wanted.id}`;
  return `${count} GPU${count === 1 ? '' : 's'} ${wanted.vendor} ${wanted.model} of ${wanted.ram} GB`;
}

function suits(offer: DeviceOffer, wanted: DeviceNeed): boolean {
  if (wanted.by === 'id') return offer.id === wanted.id;
  const { gpu } = offer;
  return (
    gpu !== undefined && gpu.vendor === wanted.vendor && gpu.model.toLowerCase() === wanted.model.toLowerCase() && gpu.ram === wanted.ram
  );
}

function lack(
  host: string,
  offers: readonly DeviceOffer[],
  fitting: readonly DeviceOffer[],
  free: ReadonlyMap<string, number>,
  wanted: DeviceNeed,
): { readonly reason: string; readonly mend: string } {
  const asked = `${sayNeed(wanted)} needed`;
  if (fitting.length > 0) {
    const whole = Math.max(...fitting.map(({ count }) => count));
    const left = Math.max(...fitting.map(({ id }) => free.get(id) ?? 0), 0);
    const mend = whole < wanted.count ? 'use a size with fewer of them, or another host' : `free ${wanted.count - left} of them on ${host}`;
    return { reason: `${left} free of ${whole} of that kind, ${asked}`, mend };
  }
  const has = offers.map(({ id, name, gpu }) => (gpu === undefined ? (name ?? id) : `${gpu.vendor} ${gpu.model} of ${gpu.ram} GB`));
  const unnamed = wanted.by === 'gpu' && offers.some(({ gpu }) => gpu === undefined);
  return {
    reason: `the host offers ${has.length === 0 ? 'no PCI device to guests' : has.slice(0, 4).join(', ')}, ${asked}`,
    mend:
      wanted.by === 'id'
        ? `offer one with the agent’s --pci-devices ${wanted.id} on ${host}`
        : `${unnamed ? 'say which GPU it is' : 'offer one'} with the agent’s --pci-devices ID=${wanted.model}/${wanted.ram} on ${host}`,
  };
}
