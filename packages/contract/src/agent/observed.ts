import { type Static, Type } from 'typebox';
import { oneOf } from '../shape.js';
import { Surrender } from './permit.js';

/** What an agent saw, by key. Times are the agent's clock; the control plane adds its own receipt time. */

const Trouble = Type.Object({ code: Type.String({ maxLength: 64 }), message: Type.String({ maxLength: 4096 }) });

export const ObservedNetwork = Type.Object({
  key: Type.String(),
  state: oneOf(['creating', 'ready', 'failed']),
  /** `bridge`: guests share a segment with every other host of this machine or overlay. `user`: an island per instance. */
  mode: oneOf(['bridge', 'user']),
  bridge: Type.Optional(Type.String()),
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
  startedAt: Type.Optional(Type.String()),
  restarts: Type.Integer(),
  /** Signs of life since this process started: bytes the guest read from its disks and wrote to its serial console. */
  boot: Type.Optional(Type.Object({ readBytes: Type.Integer(), serialBytes: Type.Integer() })),
  /** Exposed guest port → where it is reached on this host. */
  access: Type.Array(Type.Object({ port: Type.Integer(), address: Type.String(), hostPort: Type.Integer() })),
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
  /** Sender: guest stopped → last byte durable at the receiver; in a live move → guest running at the receiver. */
  pauseMs: Type.Optional(Type.Number()),
  /** Sender: when the guest was stopped. */
  pausedAt: Type.Optional(Type.String()),
  /** Root digest per disk, in the order of `disks`, once finished. */
  roots: Type.Optional(Type.Array(Type.String())),
  problem: Type.Optional(Trouble),
});
export type ObservedTransfer = Static<typeof ObservedTransfer>;

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
  gpus: Type.Array(Type.Object({ address: Type.String(), vendor: Type.String(), model: Type.String() })),
  hypervisor: Type.Object({
    qemuVersion: Type.Union([Type.String(), Type.Null()]),
    accelerator: oneOf(['kvm', 'tcg']),
    reason: Type.String(),
    machines: Type.Array(Type.String()),
    cpuModels: Type.Array(Type.String()),
  }),
  network: Type.Object({ mode: oneOf(['bridge', 'user']), reason: Type.String() }),
  /** What instances may use in all; free is this minus what desired instances and volumes claim. */
  capacity: Type.Object({ vCPU: Type.Integer(), memoryMiB: Type.Integer(), storageBytes: Type.Integer() }),
  /** It starts no guests, because it was told so. */
  maintenance: Type.Optional(Type.Boolean()),
  agent: Type.Object({ version: Type.String(), rssMiB: Type.Number(), uptimeSeconds: Type.Number() }),
});
export type HostInventory = Static<typeof HostInventory>;
