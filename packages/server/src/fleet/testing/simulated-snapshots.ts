import type { DesiredSnapshot, ObservedSnapshot } from '@virt8ra/contract';
import type { Machine } from './simulated-machine.js';

export function convergeSnapshot(machine: Machine, { key, volumes, reverts = 0 }: DesiredSnapshot): void {
  const seen = machine.get('snapshot', key);
  const runs = machine
    .desired()
    .instances.some(
      (instance) =>
        volumes.some(({ volumeKey }) => instance.volumeKeys.includes(volumeKey)) &&
        machine.get('instance', instance.key)?.state === 'running',
    );
  const sized = volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: machine.get('volume', volumeKey)?.sizeBytes ?? 0 }));
  if (seen === undefined || seen.state === 'waiting') {
    const missing = volumes.find(({ volumeKey }) => machine.get('volume', volumeKey)?.state !== 'ready');
    const taken: ObservedSnapshot = {
      key,
      state: 'taken',
      takenAt: new Date().toISOString(),
      consistency: runs ? 'crash' : 'offline',
      volumes: sized,
      reverted: reverts,
    };
    const waiting: ObservedSnapshot = { key, state: 'waiting', waitingFor: `volume ${missing?.volumeKey}`, volumes: sized, reverted: 0 };
    machine.post('snapshot', key, missing === undefined ? taken : waiting);
    return;
  }
  if (reverts <= seen.reverted) return;
  const { waitingFor: _, ...rest } = seen;
  if (runs) machine.post('snapshot', key, { ...rest, state: 'reverting', waitingFor: 'the guest to be off' });
  else
    machine.after('snapshot', key, machine.delays.pass, () =>
      machine.post('snapshot', key, { ...rest, state: 'taken', reverted: reverts }),
    );
}
