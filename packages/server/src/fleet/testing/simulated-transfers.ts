import {
  type DesiredLiveReceive,
  type DesiredLiveSend,
  type DesiredReceive,
  type DesiredSend,
  type ObservedTransfer,
  transferChunkBytes,
} from '@virt8ra/contract';
import type { Machine } from './simulated-machine.js';
import { contentDigest } from './simulated-volumes.js';

/** One end of a simulated transfer; the bytes are counted, not moved, and the digests go across. */

/** A pass goes in so many parts, each seen by both ends. */
const partsPerPass = 4;

export function convergeReceive(machine: Machine, desired: DesiredReceive | DesiredLiveReceive): void {
  const { id, disks, peerName, goal } = desired;
  const observed = machine.get('transfer', id);
  if (goal === 'abort') {
    if (observed === undefined || observed.state === 'finished' || observed.state === 'aborted') {
      if (observed === undefined) machine.post('transfer', id, { ...freshTransfer(id, 'receive'), state: 'aborted' });
      return;
    }
    unlisten(machine, observed);
    const { problem: _, ...ended } = observed;
    machine.post('transfer', id, { ...ended, state: 'aborted' });
    return;
  }
  if (observed !== undefined) return;
  const current = (): ObservedTransfer => machine.get('transfer', id) ?? freshTransfer(id, 'receive');
  const port = machine.hosts.listen(machine.identity.name, {
    peerName,
    // One that a test has made fail stays so.
    isReachable: () => machine.isAlive() && !['failed', undefined].includes(machine.get('transfer', id)?.state),
    // What is on its way when it fails comes to nothing.
    take: (bytes) => {
      if (current().state !== 'failed') machine.post('transfer', id, { ...current(), state: 'copying', bytes: current().bytes + bytes });
    },
    isArmed: () => 'instanceKey' in desired && machine.wanted('instance', desired.instanceKey)?.permit?.awaits !== undefined,
    finish: (contents, release) => {
      if (current().state === 'failed') return;
      if (release !== undefined) machine.handed.set(release.instance, release);
      const roots = machine.isCorrupting(id) ? contents.map((content) => contentDigest(`spoiled ${content}`)) : contents;
      for (const [index, { volumeKey, sizeBytes }] of disks.entries()) {
        machine.contents.set(volumeKey, roots[index] ?? '');
        const volume = machine.get('volume', volumeKey) ?? { key: volumeKey, sizeBytes };
        machine.post('volume', volumeKey, { ...volume, state: 'arrived' });
      }
      machine.post('transfer', id, { ...current(), state: 'finished', roots: [...roots] });
    },
  });
  machine.post('transfer', id, { ...freshTransfer(id, 'receive'), state: 'listening', address: '127.0.0.1', port });
}

export function unlisten(machine: Machine, observed: ObservedTransfer): void {
  if (observed.role === 'receive' && observed.port !== undefined) machine.hosts.unlisten(machine.identity.name, observed.port);
}

export function convergeSend(machine: Machine, desired: DesiredSend | DesiredLiveSend): void {
  const { id, goal, instanceKey } = desired;
  const observed = machine.get('transfer', id) ?? freshTransfer(id, 'send');
  if (observed.state === 'finished' || observed.state === 'aborted') return;
  if (goal === 'abort') {
    machine.frozen.delete(instanceKey);
    machine.post('transfer', id, { ...observed, state: 'aborted' });
    return;
  }
  const receiver = machine.hosts.receiver(desired.peer.name, desired.peer.port, machine.identity.name);
  // Where the target may not take over yet, the guest runs on.
  const mayFinish = goal === 'finish' && (desired.mode !== 'live' || receiver?.isArmed() === true);
  if (desired.mode === 'cold' || mayFinish) {
    machine.frozen.add(instanceKey);
    if (!isStopped(machine, instanceKey)) {
      machine.post('transfer', id, {
        ...observed,
        state: goal === 'finish' ? 'finishing' : observed.state,
        pausedAt: observed.pausedAt ?? new Date().toISOString(),
      });
      return;
    }
  }
  const neededPasses = 1 + (desired.mode === 'warm' ? desired.minPasses : 0) + (goal === 'finish' && desired.mode === 'warm' ? 1 : 0);
  if (receiver === undefined) {
    machine.post('transfer', id, observed);
    // It is tried again and again, as a real one does.
    machine.after('transfer', id, machine.delays.pass, () => undefined);
    return;
  }
  if (observed.passes < neededPasses) {
    copyPart(machine, desired, observed, receiver, neededPasses);
    return;
  }
  if (!mayFinish) {
    if (observed.state !== 'converged') machine.post('transfer', id, { ...observed, state: 'converged' });
    if (goal === 'finish') machine.after('transfer', id, machine.delays.pass, () => undefined);
    return;
  }
  const contents = desired.disks.map(({ volumeKey }) => machine.contents.get(volumeKey) ?? '');
  if (desired.mode !== 'live') receiver.finish(contents);
  machine.surrender(instanceKey, desired.epoch);
  if (desired.mode === 'live') receiver.finish(contents, machine.get('instance', instanceKey)?.surrender);
  // From here the epoch given up keeps it from running; a newer one may run it again.
  machine.frozen.delete(instanceKey);
  const pauseMs = Date.now() - Date.parse(observed.pausedAt ?? new Date().toISOString());
  machine.post('transfer', id, { ...observed, state: 'finished', roots: contents, pauseMs });
}

function copyPart(
  machine: Machine,
  desired: DesiredSend | DesiredLiveSend,
  observed: ObservedTransfer,
  receiver: { take(bytes: number): void },
  passes: number,
): void {
  const { id, goal } = desired;
  const size = desired.disks.reduce((sum, disk) => sum + disk.sizeBytes, 0);
  // Later passes send a tenth each.
  const passBytes = observed.passes === 0 ? size : Math.ceil(size / 10);
  const partBytes = Math.ceil(passBytes / partsPerPass);
  if (observed.state !== 'finishing') machine.post('transfer', id, { ...observed, state: goal === 'finish' ? 'finishing' : 'copying' });
  machine.after('transfer', id, machine.delays.pass / partsPerPass, () => {
    const before = machine.get('transfer', id) ?? observed;
    const parts = partsDone(before, size) + 1;
    receiver.take(partBytes);
    machine.post('transfer', id, {
      ...before,
      bytes: before.bytes + partBytes,
      passes: parts % partsPerPass === 0 ? before.passes + 1 : before.passes,
    });
    machine.progress({
      transferId: id,
      phase: goal === 'finish' ? 'finish' : 'copy',
      pass: before.passes + 1,
      bytes: before.bytes + partBytes,
      totalBytes: size + Math.ceil(size / 10) * (passes - 1),
      bytesPerSecond: (partBytes * 1000 * partsPerPass) / Math.max(1, machine.delays.pass),
      etaSeconds: machine.delays.pass / 1000,
    });
  });
}

/** From the bytes sent, so that a sender that was killed goes on where it was. */
function partsDone({ bytes }: ObservedTransfer, size: number): number {
  const first = Math.ceil(size / partsPerPass);
  if (bytes < first * partsPerPass) return Math.floor(bytes / first);
  const later = Math.ceil(Math.ceil(size / 10) / partsPerPass);
  return partsPerPass + Math.floor((bytes - first * partsPerPass) / later);
}

function isStopped(machine: Machine, instanceKey: string): boolean {
  const state = machine.get('instance', instanceKey)?.state;
  return state === undefined || state === 'stopped' || state === 'waiting' || state === 'crashed';
}

function freshTransfer(id: string, role: ObservedTransfer['role']): ObservedTransfer {
  return { id, role, state: 'preparing', passes: 0, bytes: 0, resentBytes: 0, chunkBytes: transferChunkBytes, streams: 2 };
}
