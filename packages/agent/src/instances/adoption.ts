import { toProblem } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import { attachGuest, type Guest, guestStatus } from '../qemu/guest.js';
import { factsFromCommand, listQemuProcesses } from '../qemu/guest-process.js';
import { signalProcess } from '../system/process-identity.js';
import type { GuestNetworks } from './guest-networks.js';
import { guestPaths } from './guest-starter.js';
import { sweepGuestTaps } from './guest-taps.js';
import type { InstanceStore } from './instance-store.js';
import { rebuildRecords, recallPlaces } from './rebuild-records.js';

/** Longest time from the record of a launch to the pid file of its process. */
const startingMs = 2_000;

/**
 * The guests that an earlier agent left running in this boot, by instance key. One that lives and does not answer is ended: whether it
 * still writes cannot be known, so that nothing else may be done before. Taps that belong to no guest are removed.
 */
export async function adoptGuests(context: HostContext, store: InstanceStore, networks: GuestNetworks): Promise<Map<string, Guest>> {
  const { clock, ledger, log } = context;
  const guests = new Map<string, Guest>();
  const rebuilt = await rebuildRecords(context, store);
  for (const { key, instance, launch } of store.all()) {
    if (launch === undefined || launch.bootId !== clock.bootId) continue;
    const process =
      launch.pid === undefined || launch.startTicks === undefined ? undefined : { pid: launch.pid, startTicks: launch.startTicks };
    try {
      const guest = await attachGuest(launch.id, guestPaths(context, store, key), process, startingMs);
      if (guest === undefined) continue;
      guests.set(key, guest);
      if (rebuilt.includes(key)) await recallPlaces(context, store, key, guest);
      // One that stands still may have been given up, with its memory sent away; one that runs was not.
      if (launch.epoch > 0 && (await guestStatus(guest).catch(() => 'silent')) === 'running')
        await context.permits.prove(instance, launch.epoch);
      log.info('a running guest was adopted', { instance, key, pid: guest.process.pid });
    } catch (error) {
      log.error('a guest that does not answer is ended', { instance, problem: toProblem(error).message });
      if (process !== undefined) await signalProcess(process, 'SIGKILL');
    }
  }
  await adoptPciDevices(context, store, guests);
  if (ledger.told) {
    const swept = await sweepGuestTaps(context, store, networks, (key) => guests.has(key));
    if (swept > 0) log.info('taps of vanished guests were removed', { taps: swept });
  }
  return guests;
}

/** What guests have of the host's PCI devices is what their processes were started with; what nobody has any more is given back. */
async function adoptPciDevices({ ledger, pci }: HostContext, store: InstanceStore, guests: ReadonlyMap<string, Guest>): Promise<void> {
  const facts = new Map(
    (guests.size === 0 ? [] : await listQemuProcesses()).map(({ process, command }) => [process.pid, factsFromCommand(command)]),
  );
  const seen = [...guests].flatMap(([key, guest]) => {
    const devices = facts.get(guest.process.pid)?.hostDevices ?? [];
    return devices.length === 0 ? [] : [[key, devices] as const];
  });
  const desired = new Set(ledger.state.instances.map(({ key }) => key));
  await pci.adopt(new Map(seen), (key) => !ledger.told || desired.has(key) || store.get(key) !== undefined || store.isLost(key));
}
