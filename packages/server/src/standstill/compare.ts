import type { DesiredInstance, ObservedInstance, ObservedVolume } from '@virt8ra/contract';
import type { Realization } from '../resources/ledger-types.js';

export const comparedTypes = ['instance', 'volume', 'snapshot', 'network', 'filter'] as const;
export type ComparedType = (typeof comparedTypes)[number];

export const facetOfType: Readonly<Record<ComparedType, Realization['facet']>> = {
  instance: 'instances',
  volume: 'blockStorages',
  snapshot: 'snapshots',
  network: 'networks',
  filter: 'securityGroups',
};

/**
 * `unknown`: a host has it and the database does not. `gone`: the other way round. `moved`: it is at another place than the database says.
 * `changed`: it is where it should be, and its host was told otherwise since.
 */
export type DifferenceClass = 'unknown' | 'gone' | 'moved' | 'changed';

export interface HostThing {
  readonly host: string;
  readonly type: ComparedType;
  readonly key: string;
  readonly object: unknown;
}

export interface ComparedHost {
  readonly host: string;
  readonly site: string;
  /** What it was told last, by type and key; undefined: its agent cannot say. */
  readonly told: ReadonlyMap<string, unknown> | undefined;
}

export interface Comparison {
  /** Hosts that have reported whole since the restore. */
  readonly hosts: readonly ComparedHost[];
  readonly observed: readonly HostThing[];
  /** What this database would tell them. */
  readonly desired: readonly HostThing[];
  readonly realizations: readonly Pick<Realization, 'id' | 'resourceUid' | 'role' | 'facet' | 'host' | 'key' | 'state'>[];
  readonly permits: ReadonlyMap<string, { readonly epoch: number; readonly holder: string }>;
  /** Kind and name of each resource there is. */
  readonly resources: ReadonlyMap<string, { readonly kind: string; readonly name: string }>;
  /** Block storages of each instance. */
  readonly volumesOf: ReadonlyMap<string, readonly string[]>;
}

export interface Difference {
  readonly class: DifferenceClass;
  readonly type: ComparedType;
  /** Where it is; of what is gone, where it was. */
  readonly host: string;
  readonly key: string;
  readonly message: string;
  readonly uid?: string;
  readonly kind?: string;
  readonly name?: string;
  /** Of what moved: where the database has it. */
  readonly from?: string;
  /** Of what changed: each field, as the database has it and as its host was told. */
  readonly fields?: { field: string; database: string; host: string }[];
  readonly permitEpoch?: number;
  /** False: neither the ledger nor the host's own word is enough to follow; its owner must decide. */
  readonly decided: boolean;
}

export function uidOfKey(key: string): string | undefined {
  return /^(.+?)-g\d+(?:-|$)/.exec(key)?.[1];
}

export const thingId = (type: string, key: string): string => `${type}/${key}`;

/** Compares what hosts report with what the database knows. Pure. */
export function compare(input: Comparison): readonly Difference[] {
  const hosts = new Map(input.hosts.map((host) => [host.host, host]));
  const found: Difference[] = [];
  const seen = input.observed.filter(({ host }) => hosts.has(host));
  const desiredAt = new Map(input.desired.map((thing) => [`${thing.host}/${thingId(thing.type, thing.key)}`, thing.object]));
  const byUid = new Map<string, HostThing[]>();
  for (const thing of seen) {
    const uid = uidOfKey(thing.key) ?? '';
    if (!input.resources.has(uid)) {
      found.push({ ...place(thing), class: 'unknown', message: unknownText(thing), decided: true });
      continue;
    }
    const things = byUid.get(uid);
    if (things === undefined) byUid.set(uid, [thing]);
    else things.push(thing);
  }
  const ranAt = new Map<string, string>();
  const told = (thing: Pick<HostThing, 'host' | 'type' | 'key'>): unknown =>
    hosts.get(thing.host)?.told?.get(thingId(thing.type, thing.key));
  const rowsByUid = new Map<string, Comparison['realizations'][number][]>();
  for (const row of input.realizations) {
    const rows = rowsByUid.get(row.resourceUid);
    if (rows === undefined) rowsByUid.set(row.resourceUid, [row]);
    else rows.push(row);
  }
  const userOf = new Map([...input.volumesOf].flatMap(([user, volumes]) => volumes.map((volume) => [volume, user] as const)));
  const uids = new Set([...byUid.keys(), ...rowsByUid.keys()]);
  // Instances first: block storages are where theirs is.
  for (const type of ['instance', 'volume', 'snapshot'] as const) for (const uid of uids) ofResource(uid, type);
  return found.sort(
    (left, right) =>
      order.indexOf(left.class) - order.indexOf(right.class) || left.host.localeCompare(right.host) || left.key.localeCompare(right.key),
  );

  function ofResource(uid: string, type: 'instance' | 'volume' | 'snapshot'): void {
    const named = { uid, ...input.resources.get(uid) };
    if (named.kind === undefined) return;
    const things = (byUid.get(uid) ?? []).filter((thing) => thing.type === type);
    const rows = (rowsByUid.get(uid) ?? []).filter((row) => row.facet === facetOfType[type]);
    const row = rows.find(({ role }) => role === 'primary') ?? rows[0];
    if (things.length === 0 && row === undefined) return;
    const main = holder(uid, type, things, row);
    if (type === 'instance' && main !== undefined) ranAt.set(uid, main.host);
    for (const thing of things) {
      if (thing === main || rows.some(({ key, host }) => key === thing.key && (host === undefined || host === thing.host))) continue;
      found.push({
        ...place(thing),
        ...named,
        class: 'unknown',
        message: `a further copy of ${named.name ?? uid}: ${unknownText(thing)}`,
        decided: true,
      });
    }
    if (row === undefined || row.host === undefined) {
      if (main !== undefined) moved(main, undefined, named);
      return;
    }
    if (main !== undefined) {
      if (main.host !== row.host || main.key !== row.key) moved(main, row.host, named);
      else changed(main, named);
      return;
    }
    const at = { host: row.host, type, key: row.key };
    if (!hosts.has(row.host) || row.state === 'removing') return;
    const there = things.find(({ host, key }) => host === row.host && key === row.key);
    if (there !== undefined && type === 'instance')
      found.push({
        ...at,
        ...named,
        class: 'changed',
        message: 'its host has given it up, and no host that was seen holds it',
        decided: false,
      });
    else if (there === undefined && (row.state === 'present' || desiredAt.has(`${row.host}/${thingId(type, row.key)}`)))
      found.push({
        ...at,
        ...named,
        class: 'gone',
        message: 'its host does not have it any more, and no other that was seen has it',
        decided: false,
      });
  }

  /** Who has it for good: of an instance whoever holds the highest epoch, of a block storage whoever has it where its instance is. */
  function holder(
    uid: string,
    type: ComparedType,
    things: readonly HostThing[],
    row: Comparison['realizations'][number] | undefined,
  ): HostThing | undefined {
    const asKnown = things.find(({ host, key }) => host === row?.host && key === row?.key);
    if (type === 'snapshot') return asKnown;
    if (type === 'instance') {
      const holding = things.filter((thing) => epochOf(thing) !== undefined);
      return holding.sort((left, right) => (epochOf(right) ?? 0) - (epochOf(left) ?? 0))[0] ?? neverRan(uid, asKnown);
    }
    const whole = things.filter(({ object }) => (object as ObservedVolume).state !== 'incoming');
    const user = userOf.get(uid);
    const at = user === undefined ? undefined : ranAt.get(user);
    return whole.find(({ host }) => host === at) ?? asKnown ?? (whole.length === 1 ? whole[0] : undefined);
  }

  /** One that was never started holds nothing and has given nothing up. */
  function neverRan(uid: string, thing: HostThing | undefined): HostThing | undefined {
    if (thing === undefined || (thing.object as ObservedInstance).surrender !== undefined) return undefined;
    return (input.permits.get(uid)?.epoch ?? 1) <= 1 ? thing : undefined;
  }

  function moved(thing: HostThing, from: string | undefined, named: { readonly uid: string; readonly name?: string }): void {
    const word = told(thing);
    const epoch = epochOf(thing);
    const permit = thing.type === 'instance' ? (word as DesiredInstance | undefined)?.permit : undefined;
    const decided = word !== undefined && (thing.type !== 'instance' || epoch === undefined || permit?.epoch === epoch);
    found.push({
      ...place(thing),
      ...named,
      class: 'moved',
      ...(from === undefined ? {} : { from }),
      ...(epoch === undefined ? {} : { permitEpoch: epoch }),
      message: `the database has it ${from === undefined ? 'nowhere' : `on ${from}`}, ${epoch === undefined ? 'and it is' : `and epoch ${epoch} of its run permit is held`} on ${thing.host}${decided ? '' : '; the agent there cannot say what it was told: update it'}`,
      decided,
    });
  }

  function changed(thing: HostThing, named: { readonly uid: string; readonly name?: string }): void {
    const ours = desiredAt.get(`${thing.host}/${thingId(thing.type, thing.key)}`) as Record<string, unknown> | undefined;
    const theirs = told(thing) as Record<string, unknown> | undefined;
    const fields: { field: string; database: string; host: string }[] = [];
    if (ours !== undefined && theirs !== undefined)
      for (const field of fieldsCompared[thing.type])
        if (JSON.stringify(ours[field]) !== JSON.stringify(theirs[field]))
          fields.push({ field, database: textOf(ours[field]), host: textOf(theirs[field]) });
    const epoch = epochOf(thing);
    const known = input.permits.get(named.uid)?.epoch;
    if (epoch !== undefined && known !== undefined && epoch !== known)
      fields.push({ field: 'permitEpoch', database: String(known), host: String(epoch) });
    if (fields.length === 0) return;
    found.push({
      ...place(thing),
      ...named,
      class: 'changed',
      fields,
      ...(epoch === undefined ? {} : { permitEpoch: epoch }),
      message: `its host was told otherwise since: ${fields.map(({ field, database, host }) => `${field} ${host}, the database has ${database}`).join('; ')}`,
      decided: fields.every(({ field }) => adoptable.includes(field)) && isFollowed(theirs, epoch, known),
    });
  }
}

/** A later epoch is followed with the permit that its host was sent; an earlier one never. */
function isFollowed(theirs: Record<string, unknown> | undefined, epoch: number | undefined, known: number | undefined): boolean {
  if (epoch === undefined || epoch === known) return true;
  return epoch > (known ?? 0) && (theirs as Partial<DesiredInstance> | undefined)?.permit?.epoch === epoch;
}

const order: readonly DifferenceClass[] = ['moved', 'gone', 'unknown', 'changed'];
/** What the host was told becomes what the database says, without asking anybody: nothing else follows from it. */
const adoptable: readonly string[] = ['power', 'restarts', 'permitEpoch', 'sizeBytes', 'settle', 'limits', 'source'];

const fieldsCompared: Readonly<Record<ComparedType, readonly string[]>> = {
  instance: [
    'power',
    'restarts',
    'vCPU',
    'memoryMiB',
    'volumeKeys',
    'rescueVolumeKey',
    'nics',
    'exposedPorts',
    'restart',
    'cpuPolicy',
    'hugePages',
    'pciDevices',
  ],
  volume: ['sizeBytes', 'settle', 'limits'],
  snapshot: [],
  network: [],
  filter: [],
};

function epochOf({ type, object }: HostThing): number | undefined {
  return type === 'instance' ? (object as ObservedInstance).permitEpoch : undefined;
}

function place({ host, type, key }: HostThing): Pick<Difference, 'host' | 'type' | 'key'> {
  return { host, type, key };
}

function unknownText({ type, object }: HostThing): string {
  switch (type) {
    case 'instance':
      return `a guest that is ${(object as ObservedInstance).state}`;
    case 'volume':
      return `a disk of ${((object as ObservedVolume).sizeBytes / 1e9).toFixed(1)} GB`;
    case 'snapshot':
    case 'network':
    case 'filter':
      return `a ${type}`;
  }
}

function textOf(value: unknown): string {
  const text = value === undefined ? 'none' : typeof value === 'string' ? value : JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
