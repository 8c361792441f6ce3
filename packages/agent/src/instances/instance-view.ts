import type { DesiredInstance, ObservedInstance, ObservedNic } from '@virt8ra/contract';
import type { GuestWord } from '../guest-agent/guest-inquiry.js';
import type { HostContext } from '../host-context.js';
import { forwardAddress } from '../network/host-rules.js';
import type { Guest } from '../qemu/guest.js';
import type { InstanceRecord } from './instance-store.js';
import { countedEnds } from './restart-policy.js';
import { differencesOf } from './started-with.js';

/** What has just been found out about an instance. */
export type InstanceNow = Pick<ObservedInstance, 'state' | 'waitingFor' | 'problem'>;

export interface InstanceFacts {
  readonly record: InstanceRecord;
  readonly desired: DesiredInstance | undefined;
  readonly guest: Guest | undefined;
  readonly nics: readonly ObservedNic[];
  readonly life: { readonly readBytes: number; readonly serialBytes: number } | undefined;
  /** Hardware threads that its processors have for themselves. */
  readonly cpus: readonly number[] | undefined;
  /** Of a guest that runs. */
  readonly disks: ObservedInstance['disks'] | undefined;
  /** What the guest told of itself. */
  readonly word: GuestWord | undefined;
}

/** An instance as the control plane hears of it. */
export function observedInstance(context: HostContext, facts: InstanceFacts, now: InstanceNow): ObservedInstance {
  const { board, clock, pci, permits } = context;
  const { record, desired, guest, life, disks, nics, word, cpus } = facts;
  const { key, instance, machine, cpuModel, accelerator, startedAt, restarts } = record;
  const before = board.get('instance', key);
  const devices = guest === undefined ? [] : pci.of(key);
  const surrender = permits.lastSurrender(instance);
  const permit = desired?.permit;
  const counted = countedEnds(record, clock.wallMs()).length;
  const differences = guest === undefined || desired === undefined ? [] : differencesOf(record.launch?.started, desired);
  const held = permit !== undefined && permits.judge(instance, permit, record.anchor).ok ? permit.epoch : undefined;
  return {
    key,
    instance,
    ...now,
    since: before?.state === now.state ? before.since : new Date(clock.wallMs()).toISOString(),
    ...(held === undefined ? {} : { permitEpoch: held }),
    ...(surrender === undefined ? {} : { surrender }),
    ...(machine === undefined ? {} : { machine }),
    ...(cpuModel === undefined ? {} : { cpuModel }),
    ...(accelerator === undefined ? {} : { accelerator }),
    ...(guest === undefined ? {} : { pid: guest.process.pid }),
    ...(guest === undefined || cpus === undefined ? {} : { dedicatedCPUs: [...cpus] }),
    ...(devices.length === 0 ? {} : { pciDevices: [...devices] }),
    ...(startedAt === undefined ? {} : { startedAt }),
    restarts,
    ...(record.lastEnd === undefined ? {} : { lastEnd: record.lastEnd }),
    ...(counted === 0 ? {} : { endsCounted: counted }),
    ...(differences.length === 0 ? {} : { differences }),
    ...(life === undefined ? {} : { boot: { ...life } }),
    ...(guest === undefined || disks === undefined ? {} : { disks }),
    ...(guest === undefined || record.launch?.rescueVolumeKey === undefined
      ? {}
      : { rescue: { volumeKey: record.launch.rescueVolumeKey } }),
    ...(guest === undefined || word === undefined ? {} : { guest: word }),
    ...(guest === undefined || nics.length === 0 ? {} : { nics: [...nics] }),
    access: guest === undefined || desired === undefined ? [] : accessTo(context, record, desired),
  };
}

/** What is to be said of a guest that is up; `starved`: why it is paused, `lost`: what it had and has no more, `behind`: it runs as it was started. */
export function runningProblem(starved: string | undefined, lost: string | undefined, behind: boolean): InstanceNow['problem'] {
  if (starved !== undefined) return { code: 'exhausted', message: starved };
  if (lost !== undefined) return { code: 'device-lost', message: lost };
  if (!behind) return undefined;
  return { code: 'conflict', message: 'the guest runs as it was started; a restart brings it to what is desired now' };
}

/** Where each exposed port is reached: at the host, or where all are on one machine, at the host's side of the network. */
function accessTo(context: HostContext, record: InstanceRecord, desired: DesiredInstance): ObservedInstance['access'] {
  const at = (address: string) => record.forwards.map(({ port, hostPort }) => ({ port, address, hostPort }));
  if (context.networking.mode === 'user') return at(context.dataAddress());
  const [inside4, inside6] = context.board.get('network', desired.nics[0]?.networkKey ?? '')?.hostSide ?? [];
  return inside4 === undefined || inside6 === undefined ? [] : at(forwardAddress(context.dataAddress(), { inside4, inside6 }));
}
