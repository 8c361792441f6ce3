import { createHash, randomUUID } from 'node:crypto';
import { chown } from 'node:fs/promises';
import { join } from 'node:path';
import { type DesiredInstance, Problem } from '@virt8ra/contract';
import { makeDirectory } from '../disk/atomic-file.js';
import { readHugePages } from '../hardware/huge-pages.js';
import type { HostContext } from '../host-context.js';
import { freePort } from '../network/free-port.js';
import { claimPorts, releasePorts } from '../network/port-claims.js';
import { type PortForward, userNetdev } from '../network/user-network.js';
import { type GuestNic, type GuestPaths, netdevId } from '../qemu/command-line.js';
import type { GuestDisk } from '../qemu/disk-devices.js';
import { prepareFirmware } from '../qemu/firmware.js';
import { type Guest, launchGuest, quitGuest } from '../qemu/guest.js';
import { type GuestUser, guestUid, kvmGroup, requireReachable } from '../qemu/guest-user.js';
import { chooseMachine } from '../qemu/machine-choice.js';
import { seedFiles, writeSeedImage } from '../seed/seed-image.js';
import { hostMemory } from '../storage/space.js';
import type { VolumeStore } from '../storage/volume-store.js';
import type { GuestNetworks } from './guest-networks.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { launchName } from './launch-name.js';
import { startedWith } from './started-with.js';

/** Memory that QEMU takes besides the guest's own. */
const overheadMiB = 64;

/** Files of an instance's process. The sockets' folder has a short name: socket paths end at 107 bytes. */
export function guestPaths(context: HostContext, store: InstanceStore, key: string): GuestPaths {
  const runtime = join(context.config.runtimeDirectory, createHash('sha256').update(key).digest('hex').slice(0, 12));
  return {
    qmp: join(runtime, 'qmp'),
    moverQmp: join(runtime, 'mover'),
    pid: join(runtime, 'pid'),
    log: join(runtime, 'log'),
    serial: join(store.guestDirectory(key), 'serial.log'),
    console: join(runtime, 'tty'),
    vnc: join(runtime, 'vnc'),
    agent: join(runtime, 'agent'),
  };
}

/**
 * Prepares all that a guest needs and starts its process, paused. The record names the launch before the process exists, so that it can be
 * found whatever happens to this agent. Raises Problem exhausted, unsupported, internal; nothing is left running then.
 */
export async function startGuest(
  context: HostContext,
  store: InstanceStore,
  volumes: VolumeStore,
  desired: DesiredInstance,
  record: InstanceRecord,
  networks: GuestNetworks,
): Promise<Guest> {
  const { dedicated } = context;
  try {
    const guest = await startProcess(context, store, volumes, desired, record, networks);
    try {
      await dedicated.hold(desired.key, guest);
      return guest;
    } catch (error) {
      await quitGuest(guest);
      throw error;
    }
  } finally {
    dedicated.settle(desired.key);
  }
}

async function startProcess(
  context: HostContext,
  store: InstanceStore,
  volumes: VolumeStore,
  desired: DesiredInstance,
  record: InstanceRecord,
  networks: GuestNetworks,
): Promise<Guest> {
  const { config, dedicated, hypervisor, pci } = context;
  const { key, pciDevices = [] } = desired;
  await requireMemory(desired);
  const own = dedicated.choose(desired);
  const choice = chooseMachine(desired, record, hypervisor);
  const user = await guestUser(config.root, key);
  if (config.root) {
    await requireReachable(config.stateDirectory);
    await makeDirectory(config.runtimeDirectory, 0o711);
    await requireReachable(config.runtimeDirectory);
  }
  const directory = store.guestDirectory(key);
  await makeDirectory(directory);
  const seed = join(directory, 'seed.iso');
  await writeSeedImage(
    seed,
    seedFiles(desired, (networkKey) => context.ledger.state.networks.find((network) => network.key === networkKey)?.mtu),
  );
  const firmware = await prepareFirmware(desired, directory);
  const disks = await Promise.all(desired.volumeKeys.map((volumeKey) => guestDisk(volumes, volumeKey)));
  const rescue = desired.rescueVolumeKey === undefined ? undefined : await guestDisk(volumes, desired.rescueVolumeKey);
  const owned = [
    directory,
    seed,
    ...(firmware === undefined ? [] : [firmware.variables]),
    ...[...disks, ...(rescue === undefined ? [] : [rescue])].flatMap(({ base, overlay }) => [
      base,
      ...(overlay === undefined ? [] : [overlay]),
    ]),
  ];
  if (user !== undefined) for (const path of owned) await chown(path, user.uid, user.gid);
  // Before anything of the guest is there: what it cannot have, it does not start without.
  const hostDevices = await pci.take(key, pciDevices);
  if (user !== undefined) await pci.grant(key, user.uid);
  const { nics, forwards } = await guestNics(context, networks, desired, record.forwards, user?.uid ?? 0);
  const id = launchName({ instance: desired.instance, epoch: desired.permit?.epoch ?? 0 }, randomUUID());
  const launching: InstanceRecord = {
    ...record,
    ...choice,
    accelerator: hypervisor.accelerator,
    forwards,
    serialDropped: 0,
    launch: {
      id,
      bootId: context.clock.bootId,
      at: new Date(context.clock.wallMs()).toISOString(),
      epoch: desired.permit?.epoch ?? 0,
      started: startedWith(desired),
      nicKeys: desired.nics.map((nic) => nic.key),
      volumeKeys: desired.volumeKeys,
      ...(rescue === undefined ? {} : { rescueVolumeKey: rescue.volumeKey }),
      networkKeys: desired.nics.map(({ networkKey }) => networkKey),
      ...(own === undefined ? {} : { cpus: own.cpus }),
    },
  };
  await store.write(launching);
  return await launchGuest(
    {
      architecture: desired.architecture,
      launchId: id,
      instance: desired.instance,
      ...choice,
      accelerator: desired.architecture === 'amd64' ? hypervisor.accelerator : 'tcg',
      vCPU: desired.vCPU,
      memoryMiB: desired.memoryMiB,
      ...(desired.hugePages === undefined ? {} : { hugePages: desired.hugePages }),
      ...(own?.node === undefined ? {} : { memoryNode: own.node }),
      disks,
      ...(rescue === undefined ? {} : { rescue }),
      seed,
      nics,
      ...(hostDevices.length === 0 ? {} : { hostDevices }),
      ...(firmware === undefined ? {} : { firmware }),
      paths: guestPaths(context, store, key),
    },
    user,
    async ({ pid, startTicks }) => {
      if (launching.launch !== undefined) await store.write({ ...launching, launch: { ...launching.launch, pid, startTicks } });
    },
  );
}

async function requireMemory({ memoryMiB, hugePages }: DesiredInstance): Promise<void> {
  const { availableMiB } = await hostMemory();
  const ordinaryMiB = overheadMiB + (hugePages === undefined ? memoryMiB : 0);
  if (ordinaryMiB > availableMiB)
    throw new Problem('exhausted', `the guest needs ${ordinaryMiB - overheadMiB} MiB of memory and the host has ${availableMiB} MiB left`);
  if (hugePages === undefined) return;
  const freeMiB = (await readHugePages()).find(({ size }) => size === hugePages)?.freeMiB ?? 0;
  if (memoryMiB > freeMiB)
    throw new Problem(
      'exhausted',
      `the guest needs ${memoryMiB} MiB in pages of ${hugePages === '2Mi' ? '2 MiB' : '1 GiB'} and the host has ${freeMiB} MiB of them free`,
    );
}

/** Gives back the host's ports that led to an instance. May be repeated. */
export async function dropPorts(context: HostContext, key: string): Promise<void> {
  if (context.networking.mode === 'bridge') await releasePorts(portOwner(context, key));
}

function portOwner(context: HostContext, key: string): string {
  return `${context.agentId}:${key}`;
}

/** The user that a guest’s process has; undefined: that of the agent. */
export async function guestUser(root: boolean, key: string): Promise<GuestUser | undefined> {
  if (!root) return undefined;
  const kvmGid = await kvmGroup();
  const uid = guestUid(key);
  return { uid, gid: uid, ...(kvmGid === undefined ? {} : { kvmGid }) };
}

/** The files of a volume that a guest may have. Raises Problem unavailable when it is not ready. */
export async function guestDisk(volumes: VolumeStore, volumeKey: string): Promise<GuestDisk> {
  const record = volumes.get(volumeKey);
  const { base, overlay } = volumes.files(volumeKey);
  const { driver } = volumes;
  if (record?.stage === 'incoming') return { volumeKey, base, driver, incoming: true };
  if (record?.stage === 'arrived') return { volumeKey, base, driver, overlay };
  if (record?.stage !== 'ready') throw new Problem('unavailable', `volume ${volumeKey} is not ready`);
  // Merged before and not yet dropped: its content is in the base, and nobody has it open.
  await volumes.dropOverlay(volumeKey);
  return { volumeKey, base, driver };
}

async function guestNics(
  context: HostContext,
  networks: GuestNetworks,
  desired: DesiredInstance,
  older: readonly PortForward[],
  uid: number,
): Promise<{ nics: GuestNic[]; forwards: PortForward[] }> {
  const { config, dataAddress, ledger, networking } = context;
  const nics: GuestNic[] = [];
  const forwards: PortForward[] = [];
  // Exposed ports belong to the guest's first NIC.
  if (networking.mode === 'bridge' && desired.nics.length > 0)
    forwards.push(...(await claimPorts(portOwner(context, desired.key), desired.exposedPorts, older, dataAddress(), config.dataPorts)));
  for (const [index, nic] of desired.nics.entries()) {
    const id = netdevId(index);
    if (networking.mode === 'bridge') {
      const mtu = ledger.state.networks.find((network) => network.key === nic.networkKey)?.mtu;
      if (mtu === undefined) throw new Problem('unavailable', `network ${nic.networkKey} is not ready`);
      const tap = await networks.makeTap(nic, uid);
      nics.push({ mac: nic.mac, mtu, netdev: `tap,id=${id},ifname=${tap},script=no,downscript=no,vhost=off` });
      continue;
    }
    if (nic.filters !== undefined) {
      const message = `NIC ${nic.key} has security groups, which this host cannot hold: it has user-mode networking only (${networking.reason})`;
      throw new Problem('unsupported', message);
    }
    const own: PortForward[] = [];
    const avoid = new Set(forwards.map(({ hostPort }) => hostPort));
    for (const port of index === 0 ? desired.exposedPorts : []) {
      const before = older.find((forward) => forward.port === port)?.hostPort;
      const kept =
        before !== undefined && !avoid.has(before)
          ? await freePort(dataAddress(), { first: before, last: before }, avoid).catch(() => undefined)
          : undefined;
      const hostPort = kept ?? (await freePort(dataAddress(), config.dataPorts, avoid));
      avoid.add(hostPort);
      own.push({ port, hostPort });
    }
    forwards.push(...own);
    nics.push({ mac: nic.mac, netdev: userNetdev(id, nic, dataAddress(), own) });
  }
  return { nics, forwards };
}
