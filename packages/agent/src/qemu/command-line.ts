import { createHash } from 'node:crypto';
import type { HugePageSize } from '@virt8ra/contract';
import { diskFileNode } from '../disk/disk-driver.js';
import type { HostDevice } from '../pci/passthrough.js';
import { deviceOptions, diskDeviceAt, diskNodesAt, diskPorts, type GuestDisk } from './disk-devices.js';
import { hostDeviceArguments } from './host-devices.js';
import { pciAddress } from './pci-address.js';

export interface GuestNic {
  readonly mac: string;
  /** Value of `-netdev`, its id included. */
  readonly netdev: string;
  readonly mtu?: number;
}

/** All that a guest's process is started with. */
export interface GuestPlan {
  readonly architecture: 'amd64' | 'arm64';
  /** Name of this one start; `query-name` answers it, so that a process found later is known to be this one. */
  readonly launchId: string;
  /** Instance the guest is told to be, the same for life. */
  readonly instance: string;
  readonly machine: string;
  readonly cpuModel: string;
  readonly accelerator: 'kvm' | 'tcg';
  readonly vCPU: number;
  readonly memoryMiB: number;
  /** Absent: whatever pages the host has. */
  readonly hugePages?: HugePageSize;
  /** NUMA node its memory shall come from, where it has all its processors there. */
  readonly memoryNode?: number;
  /** The boot disk first; each has the place of its position. */
  readonly disks: readonly GuestDisk[];
  /** What it boots from instead of its boot disk. */
  readonly rescue?: GuestDisk;
  readonly seed: string;
  readonly nics: readonly GuestNic[];
  /** PCI devices of the host. */
  readonly hostDevices?: readonly HostDevice[];
  readonly firmware?: { readonly code: string; readonly variables: string };
  readonly paths: GuestPaths;
}

/** Files of a running guest. */
export interface GuestPaths {
  readonly qmp: string;
  /** A second monitor, for the mover: QEMU serves one client on each. */
  readonly moverQmp: string;
  readonly pid: string;
  /** What the guest has said on its serial console; QEMU appends to it whoever listens. */
  readonly serial: string;
  /** Where its console takes input, and its screen is. */
  readonly console: string;
  readonly vnc: string;
  /** Where an agent inside it would answer. */
  readonly agent: string;
  /** What QEMU itself says. */
  readonly log: string;
}

/** Id of the device that a guest in rescue boots from. */
export const rescueDevice = 'rescue0';

/** By which a guest's kernel tells of its memory; nothing is ever taken from it. */
export const balloonDevice = 'balloon0';

/** Name of the channel to an agent inside the guest. */
export const guestAgentChannel = 'agent0';

const sandbox = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny';

/** QEMU's command line, program first. The guest does not run until `cont`, and stays inspectable after it shut down. */
export function qemuCommand(plan: GuestPlan): string[] {
  const arm = plan.architecture === 'arm64';
  return [
    arm ? 'qemu-system-aarch64' : 'qemu-system-x86_64',
    // Named threads tell whoever looks at the process which of them are the guest's processors.
    ...['-name', `guest=${plan.launchId},debug-threads=on`, '-uuid', stableUuid(plan.instance)],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-S', '-no-shutdown', '-sandbox', sandbox],
    ...memoryBackend(plan),
    ...[
      '-machine',
      [
        plan.machine,
        ...(plan.firmware === undefined ? [] : ['pflash0=firmware', 'pflash1=variables']),
        ...(plan.hugePages === undefined ? [] : [`memory-backend=${memoryName(plan)}`]),
      ].join(','),
    ],
    ...['-accel', plan.accelerator === 'kvm' ? 'kvm' : 'tcg,thread=multi,tb-size=128'],
    ...['-cpu', plan.cpuModel, '-smp', String(plan.vCPU), '-m', String(plan.memoryMiB)],
    ...['-pidfile', plan.paths.pid],
    ...(plan.disks.some(({ incoming }) => incoming === true) ? ['-incoming', 'defer'] : []),
    ...monitor('qmp0', plan.paths.qmp),
    ...monitor('qmp1', plan.paths.moverQmp),
    ...[
      '-chardev',
      `socket,id=serial0,server=on,wait=off,path=${escaped(plan.paths.console)},logfile=${escaped(plan.paths.serial)},logappend=on`,
    ],
    ...['-serial', 'chardev:serial0'],
    ...(arm ? [] : ['-device', `VGA,${pciAddress('screen')}`, '-vnc', `unix:${escaped(plan.paths.vnc)}`]),
    ...['-object', 'rng-random,id=random0,filename=/dev/urandom', '-device', `virtio-rng-pci,rng=random0,${pciAddress('rng')}`],
    ...['-device', `virtio-balloon-pci,id=${balloonDevice},${pciAddress('balloon')}`],
    ...agentChannel(plan.paths.agent),
    ...firmwareNodes(plan.firmware),
    ...diskPorts(plan.disks.length).flatMap((port) => ['-device', port]),
    ...plan.disks.flatMap((disk, place) => diskArguments(disk, place, plan.rescue === undefined ? 0 : 1)),
    ...(plan.rescue === undefined ? [] : rescueArguments(plan.rescue)),
    ...blockdev({
      driver: 'raw',
      'node-name': 'seed',
      'read-only': true,
      file: { driver: 'file', filename: plan.seed, 'read-only': true },
    }),
    ...['-device', `virtio-blk-pci,id=seed0,drive=seed,serial=cidata,${pciAddress('seed')}`],
    ...plan.nics.flatMap((nic, index) => [
      '-netdev',
      nic.netdev,
      '-device',
      `virtio-net-pci,id=nic${index},netdev=${netdevId(index)},mac=${nic.mac},romfile=,${nic.mtu === undefined ? '' : `host_mtu=${nic.mtu},`}${pciAddress('nic', index)}`,
    ]),
    ...(plan.hostDevices ?? []).flatMap(hostDeviceArguments),
  ];
}

/** The name that the machine itself gives its memory, so that a guest can be moved whatever pages it has at either end. */
function memoryName({ architecture }: GuestPlan): string {
  return architecture === 'arm64' ? 'mach-virt.ram' : 'pc.ram';
}

function memoryBackend(plan: GuestPlan): string[] {
  if (plan.hugePages === undefined) return [];
  const node = plan.memoryNode === undefined ? '' : `,host-nodes=${plan.memoryNode},policy=preferred`;
  const pages = `hugetlb=on,hugetlbsize=${plan.hugePages === '2Mi' ? '2M' : '1G'},prealloc=on${node}`;
  return ['-object', `memory-backend-memfd,id=${memoryName(plan)},size=${plan.memoryMiB}M,share=off,${pages}`];
}

/** Id of the `-netdev` of NIC `index`. */
export function netdevId(index: number): string {
  return `net${index}`;
}

/** The place where guests of all makes look for it. */
function agentChannel(socket: string): string[] {
  return [
    ...['-device', `virtio-serial-pci,id=channels0,max_ports=2,${pciAddress('channels')}`],
    ...['-chardev', `socket,id=${guestAgentChannel},server=on,wait=off,path=${escaped(socket)}`],
    ...['-device', `virtserialport,bus=channels0.0,nr=1,chardev=${guestAgentChannel},name=org.qemu.guest_agent.0`],
  ];
}

function monitor(id: string, socket: string): string[] {
  return ['-chardev', `socket,id=${id},server=on,wait=off,path=${escaped(socket)}`, '-mon', `chardev=${id},mode=control`];
}

function diskArguments(disk: GuestDisk, place: number, bootOrder: number): string[] {
  const device = diskDeviceAt(disk, place);
  return [
    ...diskNodesAt(disk, place).flatMap(blockdev),
    '-device',
    deviceOptions(place === 0 ? { ...device, bootindex: bootOrder } : device),
  ];
}

/** The disks keep their places: what looks after them need not know of it. The guest knows it by its serial number. */
function rescueArguments({ base, driver = 'file' }: GuestDisk): string[] {
  return [
    ...blockdev({ 'node-name': 'rescue-file', ...diskFileNode(driver, base), discard: 'unmap' }),
    ...blockdev({ 'node-name': 'rescue', driver: 'qcow2', file: 'rescue-file', backing: null, discard: 'unmap', 'detect-zeroes': 'unmap' }),
    '-device',
    `virtio-blk-pci,id=${rescueDevice},drive=rescue,serial=rescue,bootindex=0,werror=enospc,rerror=report,discard=on,${pciAddress('rescue')}`,
  ];
}

function firmwareNodes(firmware: GuestPlan['firmware']): string[] {
  if (firmware === undefined) return [];
  return [
    ...blockdev({
      'node-name': 'firmware',
      driver: 'raw',
      'read-only': true,
      file: { driver: 'file', filename: firmware.code, 'read-only': true },
    }),
    ...blockdev({ 'node-name': 'variables', driver: 'raw', file: { driver: 'file', filename: firmware.variables } }),
  ];
}

function blockdev(node: object): string[] {
  return ['-blockdev', JSON.stringify(node)];
}

/** Commas end a value in QEMU's own option syntax; two stand for one. */
function escaped(path: string): string {
  return path.replaceAll(',', ',,');
}

/** A version 8 UUID (RFC 9562) that an instance keeps wherever it runs. */
export function stableUuid(instance: string): string {
  const hex = createHash('sha256').update(instance).digest('hex');
  const variant = ((Number.parseInt(hex.slice(16, 17), 16) & 0x3) | 0x8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
