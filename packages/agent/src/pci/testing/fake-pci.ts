import { access, mkdir, mkdtemp, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { vfioDriver } from '../pci-function.js';
import type { PciSystem } from '../pci-system.js';

export interface FakeFunction {
  readonly address: string;
  readonly id: string;
  readonly class: string;
  readonly group?: number;
  /** The driver that takes it when nothing else is said. */
  readonly driver?: string;
  readonly node?: number;
  readonly bootDisplay?: boolean;
  readonly virtualFunctions?: number;
  /** A network interface, or a disk, that hangs on it. */
  readonly net?: string;
  readonly disk?: string;
}

/** A machine's PCI devices as a tree of files, with the kernel's behaviour when its files are written to. */
export class FakePci implements PciSystem {
  readonly root = true;
  readonly #base: string;
  readonly #functions: readonly FakeFunction[];
  readonly #overrides = new Map<string, string>();
  readonly owners = new Map<string, number>();
  readonly written: string[] = [];
  readonly taken = new Set<string>();
  /** Interfaces with addresses of the host's. */
  own: Record<string, readonly string[]> = {};
  module: 'absent' | 'loadable' | 'loaded' = 'loadable';
  /** A driver that holds on to its device. */
  clinging: string | undefined;
  /** From so many writes on nothing comes back any more: the process that writes is dead. */
  diesAfter = Number.POSITIVE_INFINITY;
  died: () => void = () => {};

  private constructor(base: string, functions: readonly FakeFunction[]) {
    this.#base = base;
    this.#functions = functions;
  }

  static async make(functions: readonly FakeFunction[], { iommu = true } = {}): Promise<FakePci> {
    const fake = new FakePci(await mkdtemp(join(tmpdir(), 'virt8ra-pci-')), functions);
    for (const folder of ['bus/pci/devices', 'bus/pci/drivers', 'class/iommu', 'class/net', 'class/block', 'kernel/iommu_groups'])
      await mkdir(join(fake.sys, folder), { recursive: true });
    await mkdir(join(fake.proc, 'net'), { recursive: true });
    await mkdir(join(fake.proc, 'self'), { recursive: true });
    await mkdir(join(fake.dev, 'vfio'), { recursive: true });
    if (iommu) await mkdir(join(fake.sys, 'class/iommu/dmar0'));
    for (const each of functions) await fake.#plug(each, iommu);
    return fake;
  }

  get sys(): string {
    return join(this.#base, 'sys');
  }
  get proc(): string {
    return join(this.#base, 'proc');
  }
  get dev(): string {
    return join(this.#base, 'dev');
  }
  /** For what the agent writes down. */
  get state(): string {
    return this.#base;
  }

  addresses(): Readonly<Record<string, readonly string[]>> {
    return this.own;
  }

  async driver(address: string): Promise<string | undefined> {
    return await readlink(join(this.#folder(address), 'driver')).then(basename, () => undefined);
  }

  async write(path: string, text: string): Promise<void> {
    if (this.written.length >= this.diesAfter) {
      this.died();
      return await new Promise<never>(() => {});
    }
    this.written.push(`${path.slice(this.sys.length + 1)} ${text.trim()}`);
    const name = basename(path);
    if (name === 'driver_override') {
      const address = basename(dirname(path));
      if (text.trim() === '') this.#overrides.delete(address);
      else this.#overrides.set(address, text.trim());
      return;
    }
    if (name === 'drivers_probe') {
      if ((await this.driver(text)) !== undefined) return;
      const wanted = this.#overrides.get(text) ?? this.#functions.find(({ address }) => address === text)?.driver;
      if (wanted !== undefined && (await isThere(this.#driverFolder(wanted)))) await this.#bind(text, wanted);
      return;
    }
    const driver = basename(dirname(path));
    if (name === 'unbind') {
      if ((await this.driver(text)) !== driver) throw code('ENODEV');
      if (driver === this.clinging) throw code('EBUSY');
      await rm(join(this.#folder(text), 'driver'));
      return;
    }
    const natural = this.#overrides.get(text) ?? this.#functions.find(({ address }) => address === text)?.driver;
    if (natural !== driver) throw code('ENODEV');
    await this.#bind(text, driver);
  }

  async loadModule(name: string): Promise<void> {
    if (this.module === 'absent') throw new Error(`modprobe: FATAL: Module ${name} not found`);
    this.module = 'loaded';
    await mkdir(this.#driverFolder(name), { recursive: true });
  }

  async isTaken(path: string): Promise<boolean> {
    return this.taken.has(basename(path));
  }

  async give(path: string, uid: number): Promise<void> {
    if (await isThere(path)) this.owners.set(basename(path), uid);
  }

  /** As when it is pulled out, or falls off its bus. */
  async unplug(address: string): Promise<void> {
    await rm(join(this.sys, 'bus/pci/devices', address));
    await rm(this.#folder(address), { recursive: true });
  }

  async remove(): Promise<void> {
    await rm(this.#base, { recursive: true, force: true });
  }

  #folder(address: string): string {
    return join(this.sys, 'devices/pci0000:00', address);
  }

  #driverFolder(name: string): string {
    return join(this.sys, 'bus/pci/drivers', name);
  }

  async #bind(address: string, driver: string): Promise<void> {
    await symlink(this.#driverFolder(driver), join(this.#folder(address), 'driver'));
    const group = this.#functions.find((each) => each.address === address)?.group;
    if (driver === vfioDriver && group !== undefined) await writeFile(join(this.dev, 'vfio', String(group)), '');
  }

  async #plug(each: FakeFunction, iommu: boolean): Promise<void> {
    const folder = this.#folder(each.address);
    await mkdir(folder, { recursive: true });
    const [vendor, device] = each.id.split(':');
    for (const [name, text] of [
      ['vendor', `0x${vendor}`],
      ['device', `0x${device}`],
      ['class', `0x${each.class}00`],
      ['numa_node', String(each.node ?? -1)],
      ['boot_vga', each.bootDisplay === true ? '1' : '0'],
      ['sriov_numvfs', String(each.virtualFunctions ?? 0)],
    ] as const)
      await writeFile(join(folder, name), `${text}\n`);
    await symlink(folder, join(this.sys, 'bus/pci/devices', each.address));
    if (iommu && each.group !== undefined) {
      const group = join(this.sys, 'kernel/iommu_groups', String(each.group));
      await mkdir(group, { recursive: true });
      await symlink(group, join(folder, 'iommu_group'));
    }
    if (each.driver !== undefined) {
      await mkdir(this.#driverFolder(each.driver), { recursive: true });
      await this.#bind(each.address, each.driver);
    }
    for (const [kind, name] of [
      ['net', each.net],
      ['block', each.disk],
    ] as const) {
      if (name === undefined) continue;
      await mkdir(join(folder, kind, name, 'holders'), { recursive: true });
      await writeFile(join(folder, kind, name, 'dev'), '259:0\n');
      await symlink(join(folder, kind, name), join(this.sys, 'class', kind, name));
    }
  }
}

async function isThere(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

function code(name: string): Error {
  return Object.assign(new Error(name), { code: name });
}
