/**
 * Placement: a pure function of candidates and a requirement. Every candidate gets a verdict that says what decided, and a refusal says
 * the smallest change that would make it fit.
 */

import { chooseDevices, type DeviceClaim, type DeviceCounts, type DeviceNeed, type DeviceOffer } from './devices.js';

export interface Capacity {
  readonly vCPU: number;
  readonly memoryMiB: number;
  readonly storageBytes: number;
  /** Hardware threads for one guest alone. Absent: none. */
  readonly dedicatedCPU?: number;
  /** MiB in huge pages of that size. Absent: none. */
  readonly huge2Mi?: number;
  readonly huge1Gi?: number;
}

/** What a host has for instances, PCI devices included. */
export interface HostCapacity extends Capacity {
  readonly devices?: readonly DeviceOffer[];
}

/** What is taken of it. */
export interface Claimed extends Capacity {
  readonly deviceCounts?: DeviceCounts;
}

export interface Candidate {
  readonly site: string;
  readonly host: string;
  readonly connected: boolean;
  /** Why it takes nothing new, perhaps without a word; undefined: it does. */
  readonly cordon: string | undefined;
  /** Node-style names are not used here: `amd64` or `arm64`. */
  readonly architecture: string;
  readonly firmwares: readonly string[];
  /** What it can do for NICs, of what not every host can. */
  readonly networking: readonly Networking[];
  readonly capacity: HostCapacity;
  readonly claimed: Claimed;
}

export type Networking = 'security-groups' | 'routes' | 'ipv6-routes' | 'public-addresses';

export interface Requirement extends Capacity {
  /** A site, or `any`. */
  readonly zone: string;
  readonly architecture: string;
  readonly firmware: string;
  readonly networking: readonly Networking[];
  /** PCI devices that it must have for itself. Absent: none. */
  readonly devices?: readonly DeviceNeed[];
  /** Set when something already lives on one host, such as a block storage. */
  readonly host?: string;
  /** Its anti-affinity group, and by host the name of another instance of it there. */
  readonly apart?: { readonly group: string; readonly hosts: ReadonlyMap<string, string> } | undefined;
}

export interface Verdict {
  readonly site: string;
  readonly host: string;
  readonly fits: boolean;
  /** The rule or number that decided. */
  readonly reason: string;
  /** For a refusal: what would make it fit. */
  readonly mend?: string;
  /** Share of the host's tightest resource left free afterwards, 0–1; higher is better. */
  readonly score: number;
  /** Of a host that fits: the PCI devices it would get there. */
  readonly devices?: readonly DeviceClaim[];
}

/** Ranks candidates, fitting ones first, then by free share, then by name so that equal inputs give equal answers. */
export function rankCandidates(candidates: readonly Candidate[], requirement: Requirement): readonly Verdict[] {
  return candidates
    .map((candidate) => judge(candidate, requirement))
    .sort((a, b) => Number(b.fits) - Number(a.fits) || b.score - a.score || compareText(a.site, b.site) || compareText(a.host, b.host));
}

function judge(candidate: Candidate, requirement: Requirement): Verdict {
  const refuse = (reason: string, mend: string): Verdict => ({
    site: candidate.site,
    host: candidate.host,
    fits: false,
    reason,
    mend,
    score: 0,
  });
  if (requirement.zone !== 'any' && requirement.zone !== candidate.site) {
    return refuse(`the zone asks for ${requirement.zone}`, `use zone ${candidate.site} or any`);
  }
  if (requirement.host !== undefined && requirement.host !== candidate.host) {
    return refuse(`its block storages are on ${requirement.host}`, 'migrate the block storages together with their instance');
  }
  const other = requirement.apart?.hosts.get(candidate.host);
  if (other !== undefined) {
    return refuse(
      `the host has instance ${other} of anti-affinity group ${requirement.apart?.group}`,
      `move ${other} to another host, or take one of the two out of the group`,
    );
  }
  if (!candidate.connected) return refuse('the host is not connected', 'bring its agent back');
  if (candidate.cordon !== undefined) {
    return refuse(`the host is cordoned${candidate.cordon === '' ? '' : `: ${candidate.cordon}`}`, `uncordon ${candidate.host}`);
  }
  if (candidate.architecture !== requirement.architecture) {
    return refuse(
      `the host is ${candidate.architecture}, the image ${requirement.architecture}`,
      `use an image for ${candidate.architecture}`,
    );
  }
  if (!candidate.firmwares.includes(requirement.firmware)) {
    return refuse(
      `the host offers ${candidate.firmwares.join(', ')} firmware`,
      `use an image that boots with ${candidate.firmwares.join(' or ')}`,
    );
  }
  const lacking = requirement.networking.find((needed) => !candidate.networking.includes(needed));
  if (lacking !== undefined) return refuse(...networkingRefusals[lacking]);
  const { devices: needs = [] } = requirement;
  const choice = chooseDevices(candidate.host, candidate.capacity.devices ?? [], candidate.claimed.deviceCounts ?? {}, needs);
  if (choice.type === 'lacking') return refuse(choice.reason, choice.mend);
  const free = subtract(candidate.capacity, candidate.claimed);
  for (const [resource, unit, provide] of capacityUnits) {
    const [needed, left, whole] = [requirement, free, candidate.capacity].map((each) => each[resource] ?? 0) as [number, number, number];
    if (needed > 0 && needed > left) {
      return refuse(
        `${unit(left)} free of ${unit(whole)}, ${unit(needed)} needed`,
        whole === 0 && provide !== undefined ? `${provide} on ${candidate.host}` : `free ${unit(needed - left)} on ${candidate.host}`,
      );
    }
  }
  const left = subtract(free, requirement);
  const score = Math.min(
    ...capacityUnits.flatMap(([resource, , provide]) => {
      const whole = candidate.capacity[resource] ?? 0;
      // What few guests ask for says nothing of how full the host is for the others.
      if (provide !== undefined && (requirement[resource] ?? 0) === 0) return [];
      return [whole === 0 ? 0 : (left[resource] ?? 0) / whole];
    }),
  );
  return {
    site: candidate.site,
    host: candidate.host,
    fits: true,
    reason: `fits, ${Math.round(score * 100)} % of its tightest resource stays free`,
    score,
    ...(choice.devices.length === 0 ? {} : { devices: choice.devices }),
  };
}

/** Reason, and what would mend it. */
const networkingRefusals: Readonly<Record<Networking, readonly [string, string]>> = {
  'security-groups': [
    'the host cannot filter by security groups',
    'take the instance out of its groups, or run the agent there as root with nftables',
  ],
  routes: ['the host cannot route out of networks', 'take the route table from its subnets, or run the agent there as root with nftables'],
  'ipv6-routes': [
    'the host cannot route IPv6 to the internet',
    'take the IPv6 routes from its subnets’ tables, or let the kernel there forward IPv6: sysctl net.ipv6.conf.all.forwarding=1, or Linux 6.17',
  ],
  'public-addresses': [
    'the host cannot lead public IPs to instances',
    'take the public IPs from its NICs, or run the agent there as root with nftables',
  ],
};

/** What there is room of, its unit, and for what not every host has at all, how it comes to have some. */
const capacityUnits: readonly (readonly [keyof Capacity, (amount: number) => string, string?])[] = [
  ['vCPU', (amount) => `${amount} vCPU`],
  ['memoryMiB', (amount) => `${amount} MiB memory`],
  ['storageBytes', (amount) => `${(amount / 1e9).toFixed(1)} GB storage`],
  ['dedicatedCPU', (amount) => `${amount} dedicated CPU${amount === 1 ? '' : 's'}`, 'set CPUs apart with the agent’s --dedicated-cpus'],
  ['huge2Mi', (amount) => `${amount} MiB in pages of 2 MiB`, 'let the kernel keep huge pages (vm.nr_hugepages)'],
  ['huge1Gi', (amount) => `${amount} MiB in pages of 1 GiB`, 'let the kernel keep pages of 1 GiB (hugepagesz=1G hugepages=N)'],
];

/** The fields of a capacity, in the order in which a lack of them is told. */
export const capacityFields: readonly (keyof Capacity)[] = capacityUnits.map(([field]) => field);

export function subtract(a: Capacity, b: Capacity): Capacity {
  const left = (field: keyof Capacity) => (a[field] ?? 0) - (b[field] ?? 0);
  return {
    vCPU: left('vCPU'),
    memoryMiB: left('memoryMiB'),
    storageBytes: left('storageBytes'),
    dedicatedCPU: left('dedicatedCPU'),
    huge2Mi: left('huge2Mi'),
    huge1Gi: left('huge1Gi'),
  };
}

function compareText(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** One sentence for a condition when nothing fits: the verdicts nearest to fitting, most common reason first. */
export function explainRefusals(verdicts: readonly Verdict[]): string {
  if (verdicts.length === 0) return 'no site has a host yet; enrol one with: virt8ra enrol HOST --site SITE';
  return verdicts
    .slice(0, 8)
    .map((verdict) => `${verdict.site}/${verdict.host}: ${verdict.reason}${verdict.mend === undefined ? '' : ` (${verdict.mend})`}`)
    .join('; ');
}
