import { type Static, Type } from 'typebox';
import { GuestPreparation } from '../guest-disks/guest-change.js';
import { backupConsistencies } from '../kinds/backup.js';
import { bootEvidence } from '../kinds/boot-probe.js';
import { hugePageSizes } from '../kinds/sku.js';
import { oneOf, Sha256 } from '../shape.js';
import { VolumeLimits } from './desired.js';
import { GuestFacts } from './guest-facts.js';
import { OverlayFacts } from './overlay.js';
import { HostPci, ObservedPciDevice } from './pci-device.js';
import { Surrender } from './permit.js';
import { AgentReleaseFacts } from './release.js';

/** What an agent saw, by key. Times are the agent's clock; the control plane adds its own receipt time. */

const Trouble = Type.Object({ code: Type.String({ maxLength: 64 }), message: Type.String({ maxLength: 4096 }) });

export const ObservedNetwork = Type.Object({
  key: Type.String(),
  state: oneOf(['creating', 'ready', 'failed']),
  /** `bridge`: guests share a segment with every other host of this machine or overlay. `user`: an island per instance. */
  mode: oneOf(['bridge', 'user']),
  bridge: Type.Optional(Type.String()),
  /** Network namespace that the bridge is in. */
  namespace: Type.Optional(Type.String()),
  /** Addresses of the namespace towards its host, without a prefix length. */
  hostSide: Type.Optional(Type.Array(Type.String())),
  /** Which versions have a way to the internet that the kernel holds. */
  egress: Type.Optional(Type.Array(oneOf(['IPv4', 'IPv6']))),
  dhcp: Type.Optional(oneOf(['serving', 'off', 'failed'])),
  dns: Type.Optional(oneOf(['serving', 'off', 'failed'])),
  /** What was found changed or missing and made anew, since the agent started: how often, and what last. */
  healed: Type.Optional(Type.Object({ times: Type.Integer(), what: Type.String({ maxLength: 1024 }), at: Type.String() })),
  /** What is desired and this host cannot do, each a sentence. */
  limits: Type.Optional(Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 32 })),
  problem: Type.Optional(Trouble),
});
export type ObservedNetwork = Static<typeof ObservedNetwork>;

export const volumeStates = ['creating', 'ready', 'incoming', 'arrived', 'settling', 'failed'] as const;
export const ObservedVolume = Type.Object({
  key: Type.String(),
  /** `ready`: one usable file. `incoming`: a transfer fills it. `arrived`: frozen and complete, usable through its overlay. */
  state: oneOf(volumeStates),
  sizeBytes: Type.Integer(),
  allocatedBytes: Type.Optional(Type.Integer()),
  /** Answer to `digestRequest`: SHA-256 over the per-chunk SHA-256 digests of the frozen image. */
  digest: Type.Optional(Type.Object({ request: Type.String(), root: Type.String(), chunkBytes: Type.Integer() })),
  problem: Type.Optional(Trouble),
});
export type ObservedVolume = Static<typeof ObservedVolume>;

export const ObservedNic = Type.Object({
  key: Type.String(),
  /** Absent in user mode, and when it is gone. */
  tap: Type.Optional(Type.String()),
  /** Filters in force; absent: none holds. */
  filters: Type.Optional(Type.Array(Type.String())),
  antiSpoof: Type.Boolean(),
  /** Limit in force, in each direction; absent: none. */
  rate: Type.Optional(Type.Object({ megabitsPerSecond: Type.Optional(Type.Number()), packetsPerSecond: Type.Optional(Type.Number()) })),
  /** Public addresses that lead to it. */
  publicAddresses: Type.Optional(Type.Array(Type.String())),
});
export type ObservedNic = Static<typeof ObservedNic>;

/**
 * How a guest's process ended: `shutdown`: asked, the guest shut down in time. `forced`: asked, it did not, and was switched off.
 * `guest`: it switched itself off. `process`: its process ended by itself. `host`: its host was restarted under it.
 */
export const instanceEnds = ['shutdown', 'forced', 'guest', 'process', 'host'] as const;
export type InstanceEnd = (typeof instanceEnds)[number];

export const volumeAttachmentStates = ['attached', 'attaching', 'detaching'] as const;

/** What a running guest has that is not what is desired of it now; the values as texts. */
export const Difference = Type.Object({
  field: Type.String({ maxLength: 64 }),
  desired: Type.String({ maxLength: 1024 }),
  actual: Type.String({ maxLength: 1024 }),
});
export type Difference = Static<typeof Difference>;

/** Something about a host that a person should know: what it is and how to mend it. `code` is for programs. */
export const HostFinding = Type.Object({
  code: Type.String({ maxLength: 64 }),
  message: Type.String({ maxLength: 4096 }),
  /** When it came up, where that is known. */
  since: Type.Optional(Type.String({ maxLength: 40 })),
});
export type HostFinding = Static<typeof HostFinding>;

/** Signs of life of a guest since its process started: bytes it read from its disks and wrote to its serial console. */
export const GuestBoot = Type.Object({ readBytes: Type.Integer(), serialBytes: Type.Integer() });
export type GuestBoot = Static<typeof GuestBoot>;

const bootedBytes = 65_536;

/** Whether a guest got beyond its firmware, as far as can be seen from outside: it speaks, or has read more than a boot sector. */
export function isBooted(boot: GuestBoot | undefined): boolean {
  return boot !== undefined && (boot.readBytes >= bootedBytes || boot.serialBytes > 0);
}

export const hostInstanceStates = ['waiting', 'starting', 'running', 'paused', 'stopping', 'stopped', 'crashed', 'failed'] as const;
export const ObservedInstance = Type.Object({
  key: Type.String(),
  instance: Type.String(),
  /** `waiting`: for its volumes or for a permit; `waitingFor` says which. */
  state: oneOf(hostInstanceStates),
  since: Type.String(),
  waitingFor: Type.Optional(Type.String({ maxLength: 1024 })),
  /** Epoch it holds; absent when it holds none. */
  permitEpoch: Type.Optional(Type.Integer()),
  surrender: Type.Optional(Surrender),
  machine: Type.Optional(Type.String()),
  cpuModel: Type.Optional(Type.String()),
  accelerator: Type.Optional(oneOf(['kvm', 'tcg'])),
  pid: Type.Optional(Type.Integer()),
  /** Hardware thread of each of its processors, as seen, where it has them for itself. */
  dedicatedCPUs: Type.Optional(Type.Array(Type.Integer())),
  /** Devices of the host that the running guest has. */
  pciDevices: Type.Optional(Type.Array(ObservedPciDevice)),
  startedAt: Type.Optional(Type.String()),
  restarts: Type.Integer(),
  boot: Type.Optional(GuestBoot),
  /**
   * Of a guest that runs: the volumes it has as disks. `attaching`: it should have it and has not yet. `detaching`: it should not and still has it;
   * until then its files are the guest's. `reason`: what is in the way.
   */
  disks: Type.Optional(
    Type.Array(
      Type.Object({
        volumeKey: Type.String(),
        state: oneOf(volumeAttachmentStates),
        reason: Type.Optional(Type.String({ maxLength: 1024 })),
        /** Limits in force. */
        limits: Type.Optional(VolumeLimits),
      }),
    ),
  ),
  /** The volume that the running guest booted from instead of its boot disk. */
  rescue: Type.Optional(Type.Object({ volumeKey: Type.String() })),
  /** Exposed guest port → where it is reached on this host. */
  access: Type.Array(Type.Object({ port: Type.Integer(), address: Type.String(), hostPort: Type.Integer() })),
  /** NICs of the running guest as the kernel has them. */
  nics: Type.Optional(Type.Array(ObservedNic)),

  /** Its last end, and how many ends within the last ten minutes count against the limit of its restart policy. */
  lastEnd: Type.Optional(Type.Object({ at: Type.String(), how: oneOf(instanceEnds) })),
  endsCounted: Type.Optional(Type.Integer()),
  /** The guest runs as it was started; a restart makes these what is desired. */
  differences: Type.Optional(Type.Array(Difference)),
  /** What the agent inside the running guest told of it, and when. */
  guest: Type.Optional(Type.Object({ at: Type.String({ maxLength: 40 }), facts: GuestFacts })),
  problem: Type.Optional(Trouble),
});
export type ObservedInstance = Static<typeof ObservedInstance>;

export const transferStates = [
  'preparing',
  'listening',
  'copying',
  'converged',
  'finishing',
  'finished',
  'aborting',
  'aborted',
  'failed',
] as const;

/** One pass of a warm copy that has ended. */
export const PassFigures = Type.Object({
  pass: Type.Integer({ minimum: 0 }),
  /** What it had to carry, by the guest's own count of what had changed; of the first pass, all. */
  workBytes: Type.Integer({ minimum: 0 }),
  /** From the point in time that it carries to its last byte durable at the receiver. */
  ms: Type.Number({ minimum: 0 }),
  /** What the guest changed meanwhile. */
  dirtyBytes: Type.Integer({ minimum: 0 }),
});
export type PassFigures = Static<typeof PassFigures>;

export const ObservedBootProbe = Type.Object({
  request: Type.String(),
  state: oneOf(['booting', 'alive', 'dead']),
  observed: Type.Optional(oneOf(bootEvidence)),
  seconds: Type.Number({ minimum: 0 }),
  readBytes: Type.Integer({ minimum: 0 }),
  serialBytes: Type.Integer({ minimum: 0 }),
  /** Why it is `dead`. */
  reason: Type.Optional(Type.String({ maxLength: 1024 })),
  serialTail: Type.Optional(Type.String({ maxLength: 4096 })),
});
export type ObservedBootProbe = Static<typeof ObservedBootProbe>;

export const ObservedTransfer = Type.Object({
  id: Type.String(),
  role: oneOf(['send', 'receive']),
  state: oneOf(transferStates),
  /** Receiver: where it listens. */
  address: Type.Optional(Type.String()),
  port: Type.Optional(Type.Integer()),
  passes: Type.Integer(),
  /** Payload bytes sent (sender) or written (receiver), over all attempts. */
  bytes: Type.Integer(),
  /** Of these, bytes sent again after an interruption though the receiver already held them. */
  resentBytes: Type.Integer(),
  chunkBytes: Type.Integer(),
  streams: Type.Integer(),
  /** Sender: content as it went over the wire, compressed or not, since its process started. */
  wireBytes: Type.Optional(Type.Integer({ minimum: 0 })),
  /** Sender: guest stopped → last byte durable at the receiver; in a live move → guest running at the receiver. */
  pauseMs: Type.Optional(Type.Number()),
  /** Sender: when the guest was stopped. */
  pausedAt: Type.Optional(Type.String()),
  /**
   * Sender: what it carried to the receiver on the wire, and in how many seconds of carrying, since its process started; no less goes through
   * between the two hosts. Absent: too little to say.
   */
  carried: Type.Optional(Type.Object({ bytes: Type.Integer({ minimum: 1 }), seconds: Type.Number({ exclusiveMinimum: 0 }) })),
  /** Receiver: what was taken of each disk's seed, null for a disk without, and why not all of it served. In the order of `disks`. */
  seeds: Type.Optional(
    Type.Array(Type.Union([Type.Object({ bytes: Type.Integer({ minimum: 0 }), problem: Type.Optional(Trouble) }), Type.Null()])),
  ),
  /** Sender, warm: its latest passes, oldest first. Feature `pass-figures`. */
  recentPasses: Type.Optional(Type.Array(PassFigures, { maxItems: 8 })),
  /** Sender: it holds; all passes up to this one are durable at the receiver, and no byte of another was sent. Feature `boot-probe`. */
  held: Type.Optional(Type.Object({ pass: Type.Integer({ minimum: 0 }) })),
  /** Receiver: the probe of that request. */
  probe: Type.Optional(ObservedBootProbe),
  /** Root digest per disk, in the order of `disks`, once finished. */
  roots: Type.Optional(Type.Array(Type.String())),
  /** Receiver that was told to prepare what arrives: how far that is. Absent: it has not begun. */
  prepared: Type.Optional(GuestPreparation),
  problem: Type.Optional(Trouble),
});
export type ObservedTransfer = Static<typeof ObservedTransfer>;

export const backupStates = ['waiting', 'copying', 'sending', 'sent', 'failed'] as const;
export const ObservedBackup = Type.Object({
  key: Type.String(),
  /** `copying`: the point in time is taken. `sent`: all of it is in the control plane's hands. `failed`: repeating cannot mend it. */
  state: oneOf(backupStates),
  waitingFor: Type.Optional(Type.String({ maxLength: 1024 })),
  /** The point in time. */
  takenAt: Type.Optional(Type.String()),
  consistency: Type.Optional(oneOf(backupConsistencies)),
  /** In the order of the desired ones; digest and length of each file once it is sent. */
  volumes: Type.Array(
    Type.Object({
      volumeKey: Type.String(),
      sizeBytes: Type.Integer(),
      file: Type.Optional(Type.Object({ sha256: Sha256, bytes: Type.Integer() })),
    }),
  ),
  problem: Type.Optional(Trouble),
});
export type ObservedBackup = Static<typeof ObservedBackup>;

export const snapshotStates = ['waiting', 'taken', 'reverting'] as const;
export const ObservedSnapshot = Type.Object({
  key: Type.String(),
  /** `taken`: it is in all volumes. `reverting`: the volumes are to become what they were, and are not yet. */
  state: oneOf(snapshotStates),
  waitingFor: Type.Optional(Type.String({ maxLength: 1024 })),
  /** The point in time. */
  takenAt: Type.Optional(Type.String()),
  consistency: Type.Optional(oneOf(backupConsistencies)),
  /** In the order of the desired ones. */
  volumes: Type.Array(Type.Object({ volumeKey: Type.String(), sizeBytes: Type.Integer() })),
  /** How often the volumes have become what they were. */
  reverted: Type.Integer(),
  problem: Type.Optional(Trouble),
});
export type ObservedSnapshot = Static<typeof ObservedSnapshot>;

/** Facts about the host. `reason` says why a better thing is not used. */
export const HostInventory = Type.Object({
  hostname: Type.String(),
  bootId: Type.String(),
  architecture: Type.String(),
  kernel: Type.String(),
  cpu: Type.Object({ model: Type.String(), cores: Type.Integer(), threads: Type.Integer(), numaCells: Type.Integer() }),
  memoryMiB: Type.Integer(),
  memoryAvailableMiB: Type.Integer(),
  storage: Type.Object({ totalBytes: Type.Integer(), freeBytes: Type.Integer() }),
  nics: Type.Array(Type.Object({ name: Type.String(), mac: Type.String(), addresses: Type.Array(Type.String()) })),
  /** Hardware threads set apart for guests that have theirs for themselves. */
  dedicatedCPUs: Type.Optional(Type.Array(Type.Integer())),
  /** Huge pages that the kernel keeps, in MiB; free ones are in nobody's hands. */
  hugePages: Type.Optional(Type.Array(Type.Object({ size: oneOf(hugePageSizes), totalMiB: Type.Integer(), freeMiB: Type.Integer() }))),
  gpus: Type.Array(Type.Object({ address: Type.String(), vendor: Type.String(), model: Type.String() })),
  /** Absent: an agent that knows nothing of it. */
  pci: Type.Optional(HostPci),
  hypervisor: Type.Object({
    qemuVersion: Type.Union([Type.String(), Type.Null()]),
    accelerator: oneOf(['kvm', 'tcg']),
    reason: Type.String(),
    machines: Type.Array(Type.String()),
    cpuModels: Type.Array(Type.String()),
  }),
  network: Type.Object({
    mode: oneOf(['bridge', 'user']),
    reason: Type.String(),
    /** What guests' networks lack on this host, each a sentence. */
    limits: Type.Optional(Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 32 })),
  }),
  /** Whether it can look into disks of guests and change them, and why not, with the mend. Absent: an agent that knows nothing of it. */
  guestDisks: Type.Optional(Type.Object({ usable: Type.Boolean(), reason: Type.Optional(Type.String({ maxLength: 1024 })) })),
  /** Absent: an agent without overlay. */
  overlay: Type.Optional(OverlayFacts),
  /** What instances may use in all; free is this minus what desired instances and volumes claim. */
  capacity: Type.Object({
    vCPU: Type.Integer(),
    memoryMiB: Type.Integer(),
    storageBytes: Type.Integer(),
    /** Hardware threads for guests that have them for themselves; not counted in `vCPU`. Absent: none. */
    dedicatedCPU: Type.Optional(Type.Integer()),
    /** MiB in huge pages of 2 MiB and of 1 GiB; not counted in `memoryMiB`. Absent: none. */
    huge2Mi: Type.Optional(Type.Integer()),
    huge1Gi: Type.Optional(Type.Integer()),
  }),
  /** It starts no guests, because it was told so. */
  maintenance: Type.Optional(Type.Boolean()),
  agent: Type.Object({ version: Type.String(), rssMiB: Type.Number(), uptimeSeconds: Type.Number() }),
  /** Absent: an agent that is not updated by command. */
  release: Type.Optional(AgentReleaseFacts),
  findings: Type.Optional(Type.Array(HostFinding)),
});
export type HostInventory = Static<typeof HostInventory>;
