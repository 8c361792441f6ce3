import { join } from 'node:path';
import type { HostFinding } from '@virt8ra/contract';
import type { Quarantine } from '../disk/quarantine.js';
import type { HostContext } from '../host-context.js';
import type { InstanceStore } from '../instances/instance-store.js';
import { factsFromCommand, listQemuProcesses, type QemuProcess } from '../qemu/guest-process.js';
import type { VolumeStore } from '../storage/volume-store.js';

/** What a person should know of this host, as it is now: nothing here is remembered, so that it goes when it is mended. */
export async function takeFindings(
  context: HostContext,
  stores: { readonly instances: InstanceStore; readonly volumes: VolumeStore; readonly quarantine: Quarantine },
): Promise<HostFinding[]> {
  const { instances, volumes, quarantine } = stores;
  return [
    ...(await quarantine.list()).map(({ directory, from, at, reason }) => ({
      code: 'quarantined',
      since: at,
      message: `${from} was put aside: ${reason}. It lies in ${directory}; remove that folder once you have looked at it.`,
    })),
    ...volumes.damaged().map((key) => ({
      code: 'damaged-volume',
      message: `it is not known what state volume ${key} is in, so that it is neither used nor changed. Its files are in ${volumes.files(key).directory}; see "When state is damaged" in the operating guide.`,
    })),
    ...(await volumes.strays().catch(() => [])).map((message) => ({ code: 'stray-volume', message })),
    ...unprovenPermits(context),
    ...keptObjects(context),
    ...(await foreignGuests(context, instances)),
  ];
}

function unprovenPermits({ ledger, permits }: HostContext): HostFinding[] {
  const { lostAt } = permits;
  const waiting = ledger.state.instances.filter(({ instance, permit }) => permit !== undefined && !permits.isProven(instance));
  if (lostAt === undefined || waiting.length === 0) return [];
  return [
    {
      code: 'permits-lost',
      since: lostAt,
      message: `the permit journal was damaged or lost: ${waiting.length} instances (${some(waiting.map(({ name }) => name))}) are not started until the control plane says again that they may run here. Connect the host.`,
    },
  ];
}

function keptObjects({ ledger }: HostContext): HostFinding[] {
  if (ledger.kept.length === 0) return [];
  return [
    {
      code: 'kept-objects',
      message: `${ledger.kept.length} objects are here that the control plane has not listed since its ledger on this host was lost or it was restored: ${some(ledger.kept)}. They are left as they are.`,
    },
  ];
}

async function foreignGuests(context: HostContext, instances: InstanceStore): Promise<HostFinding[]> {
  const own = new Set(instances.all().flatMap(({ launch }) => (launch?.pid === undefined ? [] : [launch.pid])));
  const strangers = (await listQemuProcesses()).filter(({ process, command }) => !own.has(process.pid) && !isOtherAgents(context, command));
  return strangers.map((stranger) => ({
    code: 'foreign-guest',
    message: `QEMU process ${stranger.process.pid} (${nameOf(stranger)}) is not a guest that this agent knows. It is left alone; what it uses is not counted as taken.`,
  }));
}

/** A guest of another agent on the same machine is not this one's to tell; nor is a probe or a tool that serves a disk. */
function isOtherAgents({ config }: HostContext, command: readonly string[]): boolean {
  const facts = factsFromCommand(command);
  if (facts === undefined) return command.includes('none') && command.includes('-machine');
  return !facts.serial.startsWith(join(config.stateDirectory, 'instances/'));
}

function nameOf({ command }: QemuProcess): string {
  const at = command.indexOf('-name');
  const name = at < 0 ? undefined : command[at + 1];
  return (name ?? 'without a name').slice(0, 200);
}

function some(names: readonly string[]): string {
  return names.length <= 5 ? names.join(', ') : `${names.slice(0, 5).join(', ')} and ${names.length - 5} more`;
}
