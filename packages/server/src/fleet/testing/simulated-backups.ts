import { createHash } from 'node:crypto';
import type { DesiredBackup, ObservedBackup } from '@virt8ra/contract';
import { emptyQcow2 } from '../../artifacts/testing/qcow2-image.js';
import type { Machine } from './simulated-machine.js';

/** What a simulated host sends of a volume: a small disk of its own size. */
export function backupContent(sizeBytes: number): Buffer {
  return emptyQcow2(sizeBytes);
}

export function convergeBackup(machine: Machine, { key, volumes }: DesiredBackup): void {
  const sizes = volumes.map(({ volumeKey }) => machine.get('volume', volumeKey)?.sizeBytes);
  const observed: ObservedBackup = machine.get('backup', key) ?? {
    key,
    state: 'waiting',
    volumes: volumes.map(({ volumeKey }) => ({ volumeKey, sizeBytes: 0 })),
  };
  switch (observed.state) {
    case 'waiting': {
      const missing = volumes.find(({ volumeKey }) => machine.get('volume', volumeKey)?.state !== 'ready');
      if (missing !== undefined) {
        machine.post('backup', key, { ...observed, waitingFor: `volume ${missing.volumeKey}` });
        return;
      }
      const { waitingFor: _, ...rest } = observed;
      const runs = machine
        .desired()
        .instances.some(
          (instance) =>
            instance.volumeKeys.includes(volumes[0]?.volumeKey ?? '') && machine.get('instance', instance.key)?.state === 'running',
        );
      machine.post('backup', key, {
        ...rest,
        state: 'copying',
        takenAt: new Date().toISOString(),
        consistency: runs ? 'crash' : 'offline',
        volumes: volumes.map(({ volumeKey }, position) => ({ volumeKey, sizeBytes: sizes[position] ?? 0 })),
      });
      return;
    }
    case 'copying':
      machine.after('backup', key, machine.delays.pass, () => machine.post('backup', key, { ...observed, state: 'sending' }));
      return;
    case 'sending':
      machine.after('backup', key, machine.delays.pass, async () => {
        const sent: ObservedBackup['volumes'] = [];
        for (const [position, volume] of observed.volumes.entries()) {
          const content = backupContent(volume.sizeBytes);
          await machine.sendBackup(key, position, content);
          sent.push({ ...volume, file: { sha256: createHash('sha256').update(content).digest('hex'), bytes: content.length } });
        }
        machine.post('backup', key, { ...observed, state: 'sent', volumes: sent });
      });
      return;
    case 'sent':
    case 'failed':
      return;
  }
}
