import type { MigrationSpec, MoveFinding, MoveForecast } from '@virt8ra/contract';
import type { Capabilities, HostObservation } from '@virt8ra/driver';
import type { Place } from './plan.js';

interface End extends Place {
  readonly seen: HostObservation | undefined;
  /** By how much its clock is ahead of the control plane's; undefined: not told. */
  readonly clockSeconds: number | undefined;
}

/** What preflight judges: both ends as they were seen, and the move as it would be done. */
export interface PreflightFacts {
  readonly name: string;
  readonly mode: MigrationSpec['mode'];
  readonly from: End;
  readonly to: End & { readonly capabilities: Capabilities };
  readonly volumes: readonly { readonly name: string; readonly sizeBytes: number; readonly allocatedBytes: number | undefined }[];
  readonly nics: number;
  /** PCI devices of its host. */
  readonly devices: number;
  readonly isEmulated: boolean;
  readonly publicIpsLost: readonly string[];
  readonly forecast: MoveForecast | undefined;
}

/** Clocks that differ by more eat up the margin of permits that expire. */
const clockSeconds = 5;
/** A source keeps what is overwritten during a pass, and gives the pass up below this. */
const passRoomBytes = 1024 ** 3;
/** What the guest writes at the target lies in an overlay until the move is proven: so much of its disks, at least. */
const overlayShare = 0.1;

/** What can be said of a move from outside of the guest. Pure; the order is by how much it stands in the way. */
export function preflight(facts: PreflightFacts): readonly MoveFinding[] {
  const found = rules.flatMap((rule) => rule(facts));
  const order = ['blocks', 'warns', 'info'];
  return found.toSorted((one, other) => order.indexOf(one.severity) - order.indexOf(other.severity));
}

type Rule = (facts: PreflightFacts) => readonly MoveFinding[];

const finding = (severity: MoveFinding['severity'], code: string, where: string, what: string, mend: string): MoveFinding => ({
  code,
  severity,
  what,
  where,
  mend,
});
const gb = (bytes: number): string => `${(bytes / 1e9).toFixed(1)} GB`;

const counts: Rule = ({ name, volumes, nics, to }) => {
  const { maxNicsPerInstance, maxVolumesPerInstance } = to.capabilities;
  return [
    ...(nics <= maxNicsPerInstance
      ? []
      : [
          finding(
            'blocks',
            'too-many-nics',
            `instance/${name}`,
            `it has ${nics} NICs, and site ${to.site} gives an instance ${maxNicsPerInstance}`,
            'take NICs out of its spec, or choose another site',
          ),
        ]),
    ...(volumes.length <= maxVolumesPerInstance
      ? []
      : [
          finding(
            'blocks',
            'too-many-disks',
            `instance/${name}`,
            `it has ${volumes.length} disks, and site ${to.site} gives an instance ${maxVolumesPerInstance}`,
            'detach disks, or choose another site',
          ),
        ]),
  ];
};

const room: Rule = ({ volumes, to, from }) => {
  const storage = to.seen?.inventory?.storage;
  const copied = volumes.reduce((sum, { sizeBytes, allocatedBytes }) => sum + (allocatedBytes ?? sizeBytes), 0);
  const whole = volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const overlay = Math.min(whole, Math.max(copied * overlayShare, passRoomBytes));
  const found: MoveFinding[] = [];
  const biggest = volumes.toSorted((one, other) => other.sizeBytes - one.sizeBytes)[0];
  if (storage !== undefined && biggest !== undefined && biggest.sizeBytes > storage.totalBytes)
    found.push(
      finding(
        'blocks',
        'disk-over-limit',
        `block-storage/${biggest.name}`,
        `it is ${gb(biggest.sizeBytes)}, and the storage of host ${to.host} is ${gb(storage.totalBytes)} in all`,
        'choose a host with more storage',
      ),
    );
  if (storage !== undefined && storage.freeBytes < copied + overlay)
    found.push(
      finding(
        storage.freeBytes < copied ? 'blocks' : 'warns',
        'target-room',
        `host/${to.host}`,
        `${gb(storage.freeBytes)} of its storage are free; the copy takes ${gb(copied)}, and what the guest writes there until the move is proven comes on top (${gb(overlay)} were counted)`,
        'make room there, or choose another host with --host',
      ),
    );
  const left = from.seen?.inventory?.storage.freeBytes;
  if (left !== undefined && left < passRoomBytes)
    found.push(
      finding(
        'warns',
        'source-room',
        `host/${from.host}`,
        `only ${gb(left)} of its storage are free: what the guest overwrites during a pass is kept there, and a pass is given up before its disk is full`,
        'make room there, or move it cold',
      ),
    );
  return found;
};

const hosts: Rule = ({ from, to }) => {
  const found: MoveFinding[] = [];
  if (from.seen?.connected !== true)
    found.push(
      finding(
        'blocks',
        'source-away',
        `host/${from.host}`,
        'its host is not connected: nothing can be read from it',
        `bring its agent back: virt8ra describe host ${from.host}`,
      ),
    );
  if (from.seen?.inventory?.maintenance === true)
    found.push(
      finding(
        'warns',
        'source-maintenance',
        `host/${from.host}`,
        'its host is in maintenance: should the move fail, the guest does not start there again by itself',
        `end it when the work there is done: virt8ra uncordon ${from.host}`,
      ),
    );
  for (const end of [from, to]) {
    for (const { code, message } of end.seen?.inventory?.findings ?? [])
      found.push(
        finding(
          'warns',
          `host-${code}`.slice(0, 64),
          `host/${end.host}`,
          message,
          `look at what it says: virt8ra describe host ${end.host}`,
        ),
      );
    if (end.clockSeconds !== undefined && Math.abs(end.clockSeconds) > clockSeconds)
      found.push(
        finding(
          'warns',
          'clock',
          `host/${end.host}`,
          `its clock is ${Math.round(Math.abs(end.clockSeconds))} s ${end.clockSeconds < 0 ? 'behind' : 'ahead of'} the control plane’s`,
          'timedatectl set-ntp true, or chronyc makestep',
        ),
      );
  }
  return found;
};

const networks: Rule = ({ name, nics, from, to }) => {
  const [here, there] = [from.seen?.inventory?.network, to.seen?.inventory?.network];
  if (nics === 0 || here === undefined || there === undefined) return [];
  const found: MoveFinding[] = [];
  if (here.mode === 'bridge' && there.mode === 'user')
    found.push(
      finding(
        'warns',
        'network-mode',
        `host/${to.host}`,
        `host ${to.host} gives each guest an island of its own (${there.reason}): instance ${name} will not reach others of its networks there`,
        'run the agent there as root with nftables, or choose another host with --host',
      ),
    );
  for (const limit of there.limits ?? [])
    if (!(here.limits ?? []).includes(limit))
      found.push(finding('warns', 'network-limit', `host/${to.host}`, limit, 'mend it there, or choose another host with --host'));
  const apart = from.host !== to.host && here.mode === 'bridge' && there.mode === 'bridge';
  if (
    apart &&
    from.seen?.inventory?.bootId !== to.seen?.inventory?.bootId &&
    (from.seen?.inventory?.overlay === undefined || to.seen?.inventory?.overlay === undefined)
  )
    found.push(
      finding(
        'warns',
        'network-apart',
        `host/${to.host}`,
        `one of the hosts has no overlay: networks are not one segment on ${from.host} and ${to.host}, and instance ${name} will not reach those that stay`,
        'give the agents of both hosts an overlay (docs/networking.md), or move together what must reach each other',
      ),
    );
  return found;
};

const devices: Rule = ({ name, devices: count, mode }) =>
  count === 0 || mode === 'live'
    ? []
    : [
        finding(
          'warns',
          'devices-change',
          `instance/${name}`,
          `it has ${count} PCI device${count === 1 ? '' : 's'} of its host; at the target it boots with equal ones, and nothing of what is in them goes along`,
          'see that nothing of worth is kept in them',
        ),
      ];

const publicIps: Rule = ({ name, publicIpsLost }) =>
  publicIpsLost.length === 0
    ? []
    : [
        finding(
          'warns',
          'public-ips-lost',
          `instance/${name}`,
          `${publicIpsLost.join(' and ')} will not lead to it any more`,
          'give its NIC a public IP of the target’s site afterwards',
        ),
      ];

/** What software is licensed by. */
const identity: Rule = ({ name, nics, mode }) => [
  finding(
    'info',
    'identity-kept',
    `instance/${name}`,
    `${nics === 0 ? 'its machine UUID is' : 'its machine UUID and the MAC and IP addresses of its NICs are'} the same at the target; ${mode === 'live' ? 'so is the CPU that it sees' : 'serial numbers of the host’s hardware, and the CPU unless its model is recorded, may differ'}`,
    'look up what its licences are bound to, where some are bound to hardware',
  ),
];

const convergence: Rule = ({ name, forecast, mode }) => {
  if (forecast === undefined) return [];
  const { verdict, reason, limitBytesPerSecond } = forecast.convergence;
  const where = `instance/${name}`;
  if (verdict === 'never')
    return [
      finding('warns', 'does-not-converge', where, reason, 'move it cold, have it write less meanwhile, or give the hosts a faster link'),
    ];
  if (verdict === 'with-throttle')
    return [
      finding(
        'warns',
        'converges-throttled',
        where,
        reason,
        `hold its writes below ${((limitBytesPerSecond ?? 0) / 1e6).toFixed(0)} MB/s (a block storage SKU with a limit), move it when it writes less, or move it cold`,
      ),
    ];
  if (verdict === 'unknown')
    return [
      finding(
        'info',
        'convergence-unknown',
        where,
        reason,
        mode === 'live'
          ? 'ask again in a minute'
          : 'ask again in a minute: guests are looked at once a minute, and links are measured with --measure',
      ),
    ];
  return [];
};

const emulated: Rule = ({ name, isEmulated, mode }) =>
  isEmulated && mode === 'live'
    ? [
        finding(
          'warns',
          'emulated-stands-still',
          `instance/${name}`,
          'it is emulated: it stands still while all of its memory is carried',
          'move it warm, where a boot is shorter than that',
        ),
      ]
    : [];

const rules: readonly Rule[] = [counts, room, hosts, convergence, networks, devices, publicIps, emulated, identity];
