import { join } from 'node:path';
import { Problem } from '@virt8ra/contract';
import { errorCode } from '../disk/atomic-file.js';
import { devicePath, driverOf, hasVfio, readFunction, vfioDriver } from './pci-function.js';
import type { PciSystem } from './pci-system.js';

/** Which driver had a function before: null when none had, undefined when nobody knows any more. */
export type FormerDriver = string | null | undefined;

/** Loads the driver for guests if it is not there. Raises Problem unsupported. */
export async function requireVfio(system: PciSystem): Promise<void> {
  if (await hasVfio(system)) return;
  const said = await system.loadModule(vfioDriver).then(
    () => 'it was loaded and has made no driver',
    (error: unknown) => (error as Error).message,
  );
  if (await hasVfio(system)) return;
  throw new Problem('unsupported', `this host’s kernel has no driver ${vfioDriver}, which PCI devices of guests need: ${said}`);
}

/** Has the driver for guests take a function from whatever driver has it. May be repeated. Raises Problem unavailable when it does not. */
export async function bindToVfio(system: PciSystem, address: string): Promise<void> {
  const driver = await driverOf(system, address);
  if (driver === vfioDriver) return;
  await write(system, address, join(devicePath(system, address), 'driver_override'), vfioDriver);
  if (driver !== undefined) await write(system, address, join(system.sys, 'bus/pci/drivers', driver, 'unbind'), address);
  await write(system, address, join(system.sys, 'bus/pci/drivers_probe'), address);
  const now = await driverOf(system, address);
  if (now !== vfioDriver)
    throw new Problem('unavailable', `PCI device ${address} was not taken by driver ${vfioDriver}; ${now ?? 'none'} has it`);
}

/** Gives a function back to the driver that had it. May be repeated; a function that is gone needs nothing. Raises Problem unavailable when that driver does not take it. */
export async function restoreDriver(system: PciSystem, address: string, former: FormerDriver): Promise<void> {
  if (former === vfioDriver || (await readFunction(system, address)) === undefined) return;
  const override = join(devicePath(system, address), 'driver_override');
  const driver = await driverOf(system, address);
  if (driver === vfioDriver) await write(system, address, join(system.sys, 'bus/pci/drivers', vfioDriver, 'unbind'), address);
  // An empty line: the kernel chooses by itself again.
  await write(system, address, override, '\n');
  if (former === null) return;
  if ((await driverOf(system, address)) === undefined) await write(system, address, join(system.sys, 'bus/pci/drivers_probe'), address);
  const now = await driverOf(system, address);
  if (former === undefined || now === former) return;
  if (now !== undefined)
    throw new Problem('unavailable', `PCI device ${address} went to driver ${now}, not to ${former}, which had it before`);
  await write(system, address, join(system.sys, 'bus/pci/drivers', former, 'bind'), address);
}

async function write(system: PciSystem, address: string, path: string, text: string): Promise<void> {
  try {
    await system.write(path, text);
  } catch (cause) {
    if (cause instanceof Problem) throw cause;
    throw new Problem('unavailable', `PCI device ${address}: the kernel refused a write to ${path}: ${errorCode(cause) ?? String(cause)}`, {
      cause,
    });
  }
}
