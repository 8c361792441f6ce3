import { basename, dirname, join } from 'node:path';
import type { HostContext } from '../host-context.js';
import { factsFromCommand, type GuestProcessFacts, listQemuProcesses, type QemuProcess } from '../qemu/guest-process.js';
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
    await store.write(recordOf(context, key, launch, found.running, found.facts));
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
  { launchId, machine, cpuModel, accelerator, vCPU, memoryMiB, disks, forwards }: GuestProcessFacts,
): InstanceRecord {
  const desired = context.ledger.state.instances.find((each) => each.key === key);
  const at = new Date(context.clock.wallMs()).toISOString();
  const volumeKeys = disks.map((files) => basename(dirname(files[0] ?? '')));
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
