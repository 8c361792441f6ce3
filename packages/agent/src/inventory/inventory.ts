import { readdir, readFile } from 'node:fs/promises';
import { arch, cpus, hostname, release as kernelRelease, networkInterfaces } from 'node:os';
import type { AgentReleaseFacts, HostFinding, HostInventory, HugePageSize, OverlayFacts } from '@virt8ra/contract';
import { lackOfAppliance } from '../guest-disks/appliance-folder.js';
import { readHugePages } from '../hardware/huge-pages.js';
import type { HostContext } from '../host-context.js';
import type { StartedWith } from '../instances/started-with.js';
import { isOwnInterface } from '../network/interface-name.js';
import { hostMemory, storageSpace } from '../storage/space.js';
import type { VolumeStore } from '../storage/volume-store.js';
import { agentVersion } from '../version.js';

/** Facts about this host, as they are now. Amounts that flutter are rounded, so that an unchanged host looks unchanged. */
export async function takeInventory(
  context: HostContext,
  volumes: VolumeStore,
  {
    findings,
    overlay,
    release,
    started,
  }: {
    readonly findings: readonly HostFinding[];
    readonly overlay: OverlayFacts;
    readonly release: AgentReleaseFacts | undefined;
    /** What guests' processes were started with that may be there. */
    readonly started: readonly StartedWith[];
  },
): Promise<HostInventory> {
  const { config, hypervisor, networking, clock } = context;
  const memory = await hostMemory();
  const space = await storageSpace(volumes, config.reserveStorageBytes);
  const huge = await readHugePages();
  const lack = await lackOfAppliance();
  const { cpus: dedicatedCPUs } = context.dedicated;
  const hugeFor = (size: HugePageSize) => {
    const free = huge.find((each) => each.size === size)?.freeMiB ?? 0;
    return started.reduce((sum, guest) => sum + (guest.hugePages === size ? guest.memoryMiB : 0), free);
  };
  const processors = cpus();
  const threads = processors.length;
  const { qemuVersion, accelerator, reason, machines, cpuModels } = hypervisor;
  return {
    hostname: hostname(),
    bootId: clock.bootId,
    architecture: architectureName(),
    kernel: kernelRelease(),
    cpu: {
      model: processors[0]?.model.trim() ?? 'unknown',
      cores: await countCores(threads),
      threads,
      numaCells: await countEntries('/sys/devices/system/node', /^node\d+$/, 1),
    },
    memoryMiB: memory.totalMiB,
    memoryAvailableMiB: rounded(memory.availableMiB, 64),
    storage: { totalBytes: space.totalBytes, freeBytes: rounded(space.freeBytes, 64 * 1024 ** 2) },
    nics: await listNics(),
    dedicatedCPUs: [...dedicatedCPUs],
    hugePages: [...huge],
    gpus: await listGpus(),
    pci: await context.pci.describe(),
    hypervisor: { qemuVersion, accelerator, reason, machines: [...machines], cpuModels: [...cpuModels] },
    network: {
      mode: networking.mode,
      reason: networking.reason,
      ...(networking.limits.length === 0 ? {} : { limits: [...networking.limits] }),
    },
    guestDisks: lack === undefined ? { usable: true } : { usable: false, reason: lack },
    overlay,
    capacity: {
      vCPU: (threads - dedicatedCPUs.length) * config.vcpuPerThread,
      memoryMiB: Math.max(memory.totalMiB - huge.reduce((sum, { totalMiB }) => sum + totalMiB, 0) - config.reserveMemoryMiB, 0),
      storageBytes: rounded(space.capacityBytes, 64 * 1024 ** 2),
      dedicatedCPU: dedicatedCPUs.length,
      huge2Mi: hugeFor('2Mi'),
      huge1Gi: hugeFor('1Gi'),
    },
    ...(context.ledger.state.maintenance === true ? { maintenance: true } : {}),
    agent: {
      version: agentVersion,
      rssMiB: Math.round((process.memoryUsage.rss() / 1024 ** 2) * 10) / 10,
      uptimeSeconds: Math.round(process.uptime()),
    },
    ...(release === undefined ? {} : { release }),
    findings: [...findings],
  };
}

function rounded(value: number, unit: number): number {
  return Math.floor(value / unit) * unit;
}

/** The contract's word for this machine's architecture. */
export function architectureName(): string {
  const names: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };
  return names[arch()] ?? arch();
}

async function countCores(threads: number): Promise<number> {
  const cores = new Set<string>();
  for (let cpu = 0; cpu < threads; cpu += 1) {
    const siblings = await readLine(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`);
    if (siblings !== undefined) cores.add(siblings);
  }
  return cores.size === 0 ? threads : cores.size;
}

async function countEntries(folder: string, pattern: RegExp, least: number): Promise<number> {
  const names = await readdir(folder).catch((): string[] => []);
  return Math.max(names.filter((name) => pattern.test(name)).length, least);
}

/** Physical NICs and those with an address; our own bridges, taps and tunnels are left out. */
async function listNics(): Promise<HostInventory['nics']> {
  const addresses = networkInterfaces();
  const nics: HostInventory['nics'] = [];
  for (const name of await readdir('/sys/class/net').catch((): string[] => [])) {
    if (name === 'lo' || isOwnInterface(name)) continue;
    const own = addresses[name] ?? [];
    const mac = (await readLine(`/sys/class/net/${name}/address`)) ?? own[0]?.mac ?? '';
    if (mac === '') continue;
    nics.push({ name, mac, addresses: own.map(({ cidr, address }) => cidr ?? address) });
  }
  return nics.sort((left, right) => left.name.localeCompare(right.name));
}

/** PCI display controllers and accelerators (classes 0x03 and 0x12), by their ids. */
async function listGpus(): Promise<HostInventory['gpus']> {
  const folder = '/sys/bus/pci/devices';
  const gpus: HostInventory['gpus'] = [];
  for (const address of await readdir(folder).catch((): string[] => [])) {
    const kind = (await readLine(`${folder}/${address}/class`)) ?? '';
    if (!kind.startsWith('0x03') && !kind.startsWith('0x12')) continue;
    gpus.push({
      address,
      vendor: (await readLine(`${folder}/${address}/vendor`)) ?? '',
      model: (await readLine(`${folder}/${address}/device`)) ?? '',
    });
  }
  return gpus;
}

async function readLine(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  );
}
