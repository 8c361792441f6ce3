import type { DesiredInstance, ObservedInstance } from '@virt8ra/contract';
import { evidenceHolds } from './simulated-identity.js';
import type { Machine } from './simulated-machine.js';

const usable = ['ready', 'arrived', 'settling'];

export function convergeInstance(machine: Machine, desired: DesiredInstance): void {
  const { key, instance } = desired;
  const observed = machine.get('instance', key) ?? freshInstance(desired);
  const runs = ['starting', 'running', 'paused'].includes(observed.state);
  const owed = desired.surrenderEpoch !== undefined && (observed.surrender?.epoch ?? 0) < desired.surrenderEpoch;
  if (owed && !runs && observed.state !== 'stopping') {
    machine.post('instance', key, observed);
    machine.surrender(key, desired.surrenderEpoch ?? 0);
    return;
  }
  if (observed.state === 'stopping') {
    stop(machine, desired, observed);
    return;
  }
  // A guest that runs keeps running while a disk it should get is still being made.
  const lacking = lackOfPermit(machine, desired) ?? (runs ? undefined : lackOfParts(machine, desired));
  const mayRun = desired.power === 'on' && !owed && lacking === undefined && !machine.frozen.has(key);
  if (runs) {
    const restart = desired.restarts > observed.restarts && observed.state === 'running';
    if (!mayRun || restart) machine.post('instance', key, { ...observed, state: 'stopping', since: now() });
    else if (observed.state === 'starting') boot(machine, desired, observed);
    else show(machine, desired, observed);
    return;
  }
  const byItself = (observed.state === 'stopped' || observed.state === 'crashed') && observed.startedAt !== undefined;
  if (mayRun && (!byItself || desired.restarts > observed.restarts)) {
    const { waitingFor: _, differences: _differences, rescue: _rescue, ...rest } = observed;
    const { rescueVolumeKey } = desired;
    machine.hosts.started(instance, machine.identity.host);
    machine.sizes.set(key, { vCPU: desired.vCPU, memoryMiB: desired.memoryMiB });
    machine.post('instance', key, {
      ...rest,
      state: 'starting',
      since: now(),
      restarts: desired.restarts,
      ...(rescueVolumeKey === undefined ? {} : { rescue: { volumeKey: rescueVolumeKey } }),
      machine: desired.machine ?? 'pc-q35-7.2',
      cpuModel: desired.cpuModel ?? 'qemu64-v1',
      accelerator: 'tcg',
      ...(desired.permit === undefined ? {} : { permitEpoch: desired.permit.epoch }),
    });
    return;
  }
  if (desired.power === 'off' && observed.state === 'waiting') {
    const { waitingFor: _, ...rest } = observed;
    machine.post('instance', key, { ...rest, state: 'stopped', since: now() });
  } else if (observed.state === 'waiting') {
    machine.post('instance', key, { ...observed, ...(lacking === undefined ? {} : { waitingFor: lacking }) });
  } else if (desired.power === 'off' && observed.startedAt !== undefined) {
    // Stopped as asked: a later `on` starts it.
    const { startedAt: _, ...rest } = observed;
    machine.post('instance', key, { ...rest, state: 'stopped', since: now() });
  }
}

/** A guest runs with what it was started with; its disks come and go. */
function show(machine: Machine, desired: DesiredInstance, observed: ObservedInstance): void {
  const started = machine.sizes.get(desired.key);
  const fields = (['vCPU', 'memoryMiB'] as const).filter((field) => started !== undefined && started[field] !== desired[field]);
  const { differences: _, ...rest } = { ...observed, disks: disksOf(machine, desired, observed) };
  const differences = fields.map((field) => ({ field, desired: String(desired[field]), actual: String(started?.[field]) }));
  machine.post('instance', desired.key, differences.length === 0 ? rest : { ...rest, differences });
}

function disksOf(
  machine: Machine,
  { volumeKeys }: DesiredInstance,
  { disks = [] }: ObservedInstance,
): NonNullable<ObservedInstance['disks']> {
  const leaving = disks.filter(({ volumeKey }) => !volumeKeys.includes(volumeKey) && machine.clinging.has(volumeKey));
  return [
    ...volumeKeys.map((volumeKey) => ({
      volumeKey,
      ...limitsOf(machine, volumeKey),
      state: usable.includes(machine.get('volume', volumeKey)?.state ?? '') ? ('attached' as const) : ('attaching' as const),
    })),
    ...leaving.map(({ volumeKey }) => ({ volumeKey, state: 'detaching' as const, reason: 'the guest does not let go of it' })),
  ];
}

function limitsOf(machine: Machine, volumeKey: string): Pick<NonNullable<ObservedInstance['disks']>[number], 'limits'> {
  const limits = machine.wanted('volume', volumeKey)?.limits;
  return limits === undefined ? {} : { limits };
}

/** Stops the guest of an instance that is no longer desired; true when none runs. */
export function stopForRemoval(machine: Machine, observed: ObservedInstance): boolean {
  if (observed.state === 'starting' || observed.state === 'running' || observed.state === 'paused') {
    machine.post('instance', observed.key, { ...observed, state: 'stopping', since: now() });
    return false;
  }
  if (observed.state !== 'stopping') return true;
  stop(machine, undefined, observed);
  return false;
}

function boot(machine: Machine, desired: DesiredInstance, observed: ObservedInstance): void {
  machine.after('instance', desired.key, machine.delays.boot, () => {
    machine.post('instance', desired.key, {
      ...observed,
      state: 'running',
      since: now(),
      startedAt: now(),
      pid: 4242,
      boot: { readBytes: 1_000_000, serialBytes: 1000 },
      access: desired.exposedPorts.map((port) => ({ port, address: '127.0.0.1', hostPort: machine.accessPort(desired.key, port) })),
    });
  });
}

/** Without `startedAt` it starts again once it may: it did not stop by itself. */
function stop(machine: Machine, desired: DesiredInstance | undefined, observed: ObservedInstance): void {
  machine.after('instance', observed.key, machine.delays.stop, () => {
    const { startedAt: _, pid: _pid, boot: _boot, disks: _disks, permitEpoch: _epoch, ...rest } = observed;
    machine.hosts.stopped(observed.instance, machine.identity.host);
    machine.post('instance', observed.key, { ...rest, state: desired?.power === 'on' ? 'waiting' : 'stopped', since: now(), access: [] });
  });
}

function lackOfPermit(machine: Machine, { instance, permit }: DesiredInstance): string | undefined {
  if (permit === undefined) return 'a run permit';
  if (permit.holder !== machine.identity.host) return `a run permit: epoch ${permit.epoch} belongs to ${permit.holder}`;
  if (permit.epoch <= (machine.surrendered.get(instance) ?? 0)) return `a newer run permit: epoch ${permit.epoch} was given up`;
  const handed = machine.handed.get(instance);
  const evidence = permit.evidence ?? (handed !== undefined && handed.host === permit.awaits ? handed : undefined);
  if (permit.epoch > 1 && !evidenceHolds(evidence, instance, permit.epoch - 1, machine.identity.ca)) {
    return `evidence that epoch ${permit.epoch - 1} has ended`;
  }
  return undefined;
}

function lackOfParts(machine: Machine, { volumeKeys, rescueVolumeKey, nics }: DesiredInstance): string | undefined {
  const volume = [...volumeKeys, ...(rescueVolumeKey === undefined ? [] : [rescueVolumeKey])].find(
    (key) => !usable.includes(machine.get('volume', key)?.state ?? ''),
  );
  if (volume !== undefined) return `volume ${volume}`;
  const nic = nics.find(({ networkKey }) => machine.get('network', networkKey)?.state !== 'ready');
  return nic === undefined ? undefined : `network ${nic.networkKey}`;
}

function freshInstance({ key, instance, restarts }: DesiredInstance): ObservedInstance {
  return { key, instance, state: 'waiting', since: now(), restarts, access: [] };
}

function now(): string {
  return new Date().toISOString();
}
