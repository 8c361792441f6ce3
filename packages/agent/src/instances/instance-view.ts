import type { DesiredInstance, ObservedInstance } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
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
  readonly life: { readonly readBytes: number; readonly serialBytes: number } | undefined;
  /** Of a guest that runs. */
  readonly disks: ObservedInstance['disks'] | undefined;
}

/** An instance as the control plane hears of it. */
export function observedInstance(context: HostContext, facts: InstanceFacts, now: InstanceNow): ObservedInstance {
  const { board, clock, permits } = context;
  const { record, desired, guest, life, disks } = facts;
  const { key, instance, machine, cpuModel, accelerator, startedAt, restarts } = record;
  const before = board.get('instance', key);
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
    ...(startedAt === undefined ? {} : { startedAt }),
    restarts,
    ...(record.lastEnd === undefined ? {} : { lastEnd: record.lastEnd }),
    ...(counted === 0 ? {} : { endsCounted: counted }),
    ...(differences.length === 0 ? {} : { differences }),
    ...(life === undefined ? {} : { boot: { ...life } }),
    ...(guest === undefined || disks === undefined ? {} : { disks }),
    access: guest === undefined || desired === undefined ? [] : accessTo(context, record, desired),
  };
}

/** What is to be said of a guest that is up; `starved`: why it is paused, `behind`: it runs as it was started. */
export function runningProblem(starved: string | undefined, behind: boolean): InstanceNow['problem'] {
  if (starved !== undefined) return { code: 'exhausted', message: starved };
  if (!behind) return undefined;
  return { code: 'conflict', message: 'the guest runs as it was started; a restart brings it to what is desired now' };
}

/** Where each exposed port is reached: through the host without a bridge, else at the guest's own address. */
function accessTo(context: HostContext, record: InstanceRecord, desired: DesiredInstance): ObservedInstance['access'] {
  if (context.networking.mode === 'user')
    return record.forwards.map(({ port, hostPort }) => ({ port, address: context.dataAddress(), hostPort }));
  const cidr = desired.nics[0]?.addresses[0];
  if (cidr === undefined) return [];
  const address = cidr.slice(0, cidr.indexOf('/'));
  return desired.exposedPorts.map((port) => ({ port, address, hostPort: port }));
}
