import { readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { toProblem } from '@virt8ra/contract';
import type { HostContext } from '../host-context.js';
import type { Guest } from '../qemu/guest.js';
import { diskFiles, rescueFile } from '../qemu/guest-disks.js';
import { factsFromCommand, type GuestProcessFacts, listQemuProcesses, openFiles, type QemuProcess } from '../qemu/guest-process.js';
import type { InstanceRecord, InstanceStore } from './instance-store.js';
import { factsFromLaunchName, type LaunchFacts } from './launch-name.js';

/**
 * Makes the records of guests again that run here and whose records were damaged or are gone, from what their processes say: which launch,
 * which disks, how large. Answers the keys. What does not run gets a new record when it is desired; a folder that belongs to nothing goes.
 */
export async function rebuildRecords(context: HostContext, store: InstanceStore): Promise<string[]> {
  const lost = store.lost();
  if (lost.length === 0) return [];
  const processes = await listQemuProcesses();
  const rebuilt: string[] = [];
  for (const key of lost) {
    const found = processes.flatMap((running) => {
      const facts = factsFromCommand(running.command);
      return facts?.serial === join(store.guestDirectory(key), 'serial.log') ? [{ running, facts }] : [];
    })[0];
    const { ledger, log } = context;
    const desired = ledger.state.instances.find((instance) => instance.key === key);
    if (found === undefined) {
      if (desired === undefined && ledger.told) await store.remove(key);
      continue;
    }
    const launch = factsFromLaunchName(found.facts.launchId);
    if (launch === undefined) {
      log.error('a guest runs here of which nothing else is known; it is left alone', { key, pid: found.running.process.pid });
      continue;
    }
    const volumeKeys = await volumesOf(context, found.running, found.facts);
    await store.write(recordOf(context, key, launch, found.running, { ...found.facts, volumeKeys }));
    rebuilt.push(key);
    log.warn('the record of a running guest was made again from its process', {
      instance: launch.instance,
      key,
      pid: found.running.process.pid,
    });
  }
  return rebuilt;
}

function recordOf(
  context: HostContext,
  key: string,
  { instance, epoch }: LaunchFacts,
  { process }: QemuProcess,
  facts: GuestProcessFacts & { readonly volumeKeys: readonly (string | null)[] },
): InstanceRecord {
  const { launchId, machine, cpuModel, accelerator, vCPU, memoryMiB, volumeKeys, forwards } = facts;
  const desired = context.ledger.state.instances.find((each) => each.key === key);
  const at = new Date(context.clock.wallMs()).toISOString();
  return {
    version: 1,
    key,
    instance,
    machine,
    cpuModel,
    accelerator,
    // A count that is too low would restart a guest that was restarted already.
    restarts: desired?.restarts ?? 0,
    crashes: [],
    forwards,
    serialDropped: 0,
    startedAt: at,
    launch: {
      id: launchId,
      bootId: context.clock.bootId,
      at,
      epoch,
      started: { vCPU, memoryMiB },
      ...(desired === undefined ? {} : { nicKeys: desired.nics.map((nic) => nic.key) }),
      volumeKeys,
      networkKeys: desired?.nics.map(({ networkKey }) => networkKey) ?? [],
      ...process,
    },
  };
}

/**
 * The volumes of a guest: those that its command line names and that it still has open, and behind them those that came later, whose place its
 * command line does not tell. Where nothing can be seen of its files it may have all that it was started with.
 */
async function volumesOf(
  context: HostContext,
  { process }: QemuProcess,
  { disks }: GuestProcessFacts,
): Promise<readonly (string | null)[]> {
  const open = await openFiles(process);
  // A disk may be a link, and of its target alone the process tells.
  const isOpen = async (file: string) => open.has(await realpath(file).catch(() => file));
  const started = await Promise.all(
    disks.map(async ([file = '']) => (open.size === 0 || (await isOpen(file)) ? basename(dirname(file)) : null)),
  );
  const root = join(await realpath(context.config.stateDirectory), 'volumes');
  const later: string[] = [];
  for (const key of await readdir(root)) {
    if (!started.includes(key) && (await isOpen(join(root, key, 'base.qcow2')))) later.push(key);
  }
  return [...started, ...later];
}

/** Writes down at which places such a guest has its disks, and which CPUs for itself, as its hypervisor says. One that does not answer keeps what its process says. */
export async function recallPlaces(context: HostContext, store: InstanceStore, key: string, guest: Guest): Promise<void> {
  const record = store.get(key);
  if (record?.launch === undefined) return;
  try {
    const files = await diskFiles(guest);
    const volumeKeys = Array.from({ length: Math.max(-1, ...files.keys()) + 1 }, (_, place) => {
      const file = files.get(place);
      return file === undefined ? null : basename(dirname(file));
    });
    const cpus = await context.dedicated.recall(guest);
    const rescue = await rescueFile(guest);
    const rescued = rescue === undefined ? {} : { rescueVolumeKey: basename(dirname(rescue)) };
    await store.write({ ...record, launch: { ...record.launch, volumeKeys, ...rescued, ...(cpus === undefined ? {} : { cpus }) } });
  } catch (error) {
    context.log.warn('a guest does not tell where its disks are', { key, problem: toProblem(error).message });
  }
}
