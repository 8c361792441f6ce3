import { readdir, readFile, readlink } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { HostDevice } from '../pci/passthrough.js';
import { type ProcessIdentity, readProcessIdentity } from '../system/process-identity.js';
import { diskNode } from './disk-devices.js';
import { hostDevicesFrom } from './host-devices.js';

/** A QEMU process of this machine, whoever started it. */
export interface QemuProcess {
  readonly process: ProcessIdentity;
  /** Its command line, program first. */
  readonly command: readonly string[];
}

/** What a guest's process says of itself by its command line, in the form that `qemuCommand` makes. */
export interface GuestProcessFacts {
  readonly launchId: string;
  readonly uuid: string;
  readonly machine: string;
  readonly cpuModel: string;
  readonly accelerator: 'kvm' | 'tcg';
  readonly vCPU: number;
  readonly memoryMiB: number;
  readonly serial: string;
  readonly qmp: string;
  /** Files of each disk in the order of the guest's disks, the frozen one first. */
  readonly disks: readonly (readonly string[])[];
  /** It was started to receive a live move: what was put above its disks since does not stand in its command line. */
  readonly receives: boolean;
  readonly macs: readonly string[];
  /** PCI devices of the host that it has. */
  readonly hostDevices: readonly HostDevice[];
  /** Where exposed ports are reached in user mode. */
  readonly forwards: readonly { readonly port: number; readonly hostPort: number }[];
}

/** Every QEMU process that this process may look at. */
export async function listQemuProcesses(): Promise<QemuProcess[]> {
  const found: QemuProcess[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const text = await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '');
    const command = text.split('\0').slice(0, -1);
    if (!/^(?:qemu-system-|qemu-kvm$|kvm$)/.test(basename(command[0] ?? ''))) continue;
    const process = await readProcessIdentity(Number(name));
    if (process !== undefined) found.push({ process, command });
  }
  return found;
}

/** Files that a process has open, as far as this process may know: disks that came after its start stand in no command line. */
export async function openFiles({ pid }: Pick<ProcessIdentity, 'pid'>): Promise<ReadonlySet<string>> {
  const directory = `/proc/${pid}/fd`;
  const names = await readdir(directory).catch((): string[] => []);
  const files = await Promise.all(names.map(async (name) => await readlink(join(directory, name)).catch(() => '')));
  return new Set(files.filter((file) => file.startsWith('/')));
}

/** Undefined for a command line that no agent made. */
export function factsFromCommand(command: readonly string[]): GuestProcessFacts | undefined {
  const values = (option: string) => command.flatMap((word, at) => (word === option ? [command[at + 1] ?? ''] : []));
  const value = (option: string) => values(option)[0] ?? '';
  const launchId = /^guest=([^,]+),debug-threads=on$/.exec(value('-name'))?.[1];
  const [machine = ''] = value('-machine').split(',');
  const [accelerator = ''] = value('-accel').split(',');
  const chardevs = values('-chardev');
  const serial = optionOf(chardevs, 'serial0', 'logfile');
  const qmp = optionOf(chardevs, 'qmp0', 'path');
  if (launchId === undefined || serial === undefined || qmp === undefined || machine === '') return undefined;
  const nodes = values('-blockdev').map(nodeFrom);
  const file = (name: string) => nodes.find((node) => node['node-name'] === name)?.['filename'];
  const disks: string[][] = [];
  for (;;) {
    const node = diskNode(disks.length);
    const files = [file(`${node}-base-file`), file(`${node}-file`)].filter((name): name is string => typeof name === 'string');
    if (files.length === 0) break;
    disks.push(files);
  }
  return {
    launchId,
    uuid: value('-uuid'),
    machine,
    cpuModel: value('-cpu'),
    accelerator: accelerator === 'kvm' ? 'kvm' : 'tcg',
    vCPU: Number(value('-smp')),
    memoryMiB: Number(value('-m')),
    serial,
    qmp,
    disks,
    receives: command.includes('-incoming'),
    hostDevices: hostDevicesFrom(values('-device')),
    macs: values('-device').flatMap((text) => /^virtio-net-pci,.*mac=([0-9a-f:]{17})/.exec(text)?.[1] ?? []),
    forwards: values('-netdev').flatMap((text) =>
      [...text.matchAll(/hostfwd=tcp:[^,]*:(\d+)-[^,]*:(\d+)/g)].map(([, hostPort, port]) => ({
        port: Number(port),
        hostPort: Number(hostPort),
      })),
    ),
  };
}

/** An option of the character device of that id; two commas stand for one. */
function optionOf(chardevs: readonly string[], id: string, name: string): string | undefined {
  for (const text of chardevs) {
    const parts = text.replaceAll(',,', '\0').split(',');
    if (!parts.includes(`id=${id}`)) continue;
    return parts
      .find((part) => part.startsWith(`${name}=`))
      ?.slice(name.length + 1)
      .replaceAll('\0', ',');
  }
  return undefined;
}

function nodeFrom(text: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return {};
  }
}
