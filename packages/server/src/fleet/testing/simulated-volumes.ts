import { createHash } from 'node:crypto';
import { type DesiredNetwork, type DesiredVolume, transferChunkBytes } from '@virt8ra/contract';
import type { Machine } from './simulated-machine.js';

export function convergeNetwork(machine: Machine, { key }: DesiredNetwork): void {
  if (machine.get('network', key) !== undefined) return;
  machine.post('network', key, { key, state: 'creating', mode: 'bridge' });
  machine.after('network', key, machine.delays.network, () =>
    machine.post('network', key, { key, state: 'ready', mode: 'bridge', bridge: `sim-${key}`.slice(0, 15) }),
  );
}

export function convergeVolume(machine: Machine, desired: DesiredVolume): void {
  const { key, sizeBytes, source } = desired;
  const observed = machine.get('volume', key);
  if (observed === undefined && source.type === 'incoming') {
    machine.post('volume', key, { key, state: 'incoming', sizeBytes });
    return;
  }
  if (observed === undefined || observed.state === 'creating') {
    if (observed === undefined) machine.post('volume', key, { key, state: 'creating', sizeBytes });
    machine.after('volume', key, machine.delays.volume, async () => {
      if (source.type === 'image') await machine.fetchImage?.(source.sha256);
      machine.contents.set(key, contentDigest(source.type === 'image' ? source.sha256 : `blank ${sizeBytes}`));
      machine.post('volume', key, { key, state: 'ready', sizeBytes, allocatedBytes: 0 });
    });
    return;
  }
  if (observed.state === 'arrived' && desired.settle) {
    machine.post('volume', key, { ...observed, state: 'settling' });
    return;
  }
  if (observed.state === 'settling') {
    machine.after('volume', key, machine.delays.settle, () => machine.post('volume', key, { ...observed, state: 'ready' }));
    return;
  }
  const root = machine.contents.get(key);
  if (desired.digestRequest !== undefined && root !== undefined && observed.digest?.request !== desired.digestRequest) {
    machine.post('volume', key, { ...observed, digest: { request: desired.digestRequest, root, chunkBytes: transferChunkBytes } });
    return;
  }
  if (observed.state === 'ready' && observed.sizeBytes < sizeBytes) machine.post('volume', key, { ...observed, sizeBytes });
}

export function contentDigest(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
