import { Problem } from '@virt8ra/contract';
import { type DiskDriver, diskFileNode } from '../disk/disk-driver.js';
import { freePort } from '../network/free-port.js';
import { diskNode } from '../qemu/disk-devices.js';

import { currentNode, type Guest, guestStatus } from '../qemu/guest.js';
import type { GuestUser } from '../qemu/guest-user.js';
import { credentialsId, giveKey, newAttemptKey, takeKey } from './attempt-key.js';
import { awaitState } from './await-state.js';
import { exportName, hostOf, setCapabilities } from './both-ends.js';
import type { Beginning } from './messages.js';

/** The target's hypervisor in a live move: it was started to receive, on blank disks, and runs nothing before it is told to. */

export interface TargetPlace {
  readonly address: string;
  readonly ports: { readonly first: number; readonly last: number } | undefined;
  readonly user: GuestUser | undefined;
  /** Files of the disks' overlays, blank; for each disk. */
  readonly overlays: readonly string[];
  readonly driver: DiskDriver;
}

const stoppedStepMs = 5_000;
const attempts = 5;

const exportId = (index: number) => `live-export${index}`;

/** True for a process that nothing was received by yet. */
export async function isFresh(guest: Guest): Promise<boolean> {
  if ((await guestStatus(guest)) !== 'inmigrate') return false;
  const exports = (await guest.monitor.run('query-block-exports')) as unknown[];
  const nodes = (await guest.monitor.run('query-named-block-nodes', { flat: true })) as { 'node-name'?: string }[];
  return exports.length === 0 && !nodes.some((node) => node['node-name'] === diskNode(0));
}

/** Opens a fresh process for one source: its disks for writing, its memory, each behind the key of this attempt. */
export async function openTarget(guest: Guest, place: TargetPlace): Promise<Beginning> {
  const { monitor } = guest;
  const { address, ports, overlays, driver } = place;
  const key = newAttemptKey();
  await giveKey(guest, place.user, 'server', key);
  const diskPort = await onFreePort(place, async (port) => {
    await monitor.run('nbd-server-start', {
      addr: { type: 'inet', data: { host: address, port: String(port) } },
      'tls-creds': credentialsId,
    });
  });
  for (const [index, filename] of overlays.entries()) {
    const node = diskNode(index);
    await monitor.run('block-export-add', {
      type: 'nbd',
      id: exportId(index),
      'node-name': `${node}-base`,
      name: exportName(index),
      writable: true,
    });
    await monitor.run('blockdev-add', { ...diskFileNode(driver, filename), 'node-name': `${node}-file`, discard: 'unmap' });
    await monitor.run('blockdev-add', {
      driver: 'qcow2',
      'node-name': node,
      file: `${node}-file`,
      backing: null,
      discard: 'unmap',
      'detect-zeroes': 'unmap',
    });
  }
  await setCapabilities(guest);
  await monitor.run('migrate-set-parameters', { 'tls-creds': credentialsId });
  const memoryPort = await onFreePort(
    { address, ports },
    async (port) => await monitor.run('migrate-incoming', { uri: `tcp:${hostOf(address)}:${port}` }),
    new Set([diskPort]),
  );
  return { address, diskPort, memoryPort, key };
}

/** Closes the way in for writes: the disks are what they will be. */
export async function closeDisks(guest: Guest, disks: number): Promise<void> {
  for (let index = 0; index < disks; index += 1) {
    await guest.monitor.run('block-export-del', { id: exportId(index), mode: 'hard' }, stoppedStepMs);
  }
  await guest.monitor.run('nbd-server-stop', undefined, stoppedStepMs);
}

/**
 * Waits for the memory, and freezes the disks as they came: from here on writes go to the overlays. May be repeated. Raises Problem conflict when
 * the process has not received what it was started for, unavailable when it did not end in time.
 */
export async function completeTarget(guest: Guest, disks: number, signal: AbortSignal): Promise<void> {
  const { monitor } = guest;
  await awaitState(
    monitor,
    'the memory arrives',
    async () => {
      const { status, 'error-desc': reason } = (await monitor.run('query-migrate')) as { status?: string; 'error-desc'?: string };
      if (status === 'completed') return true;
      if (status === undefined || status === 'none' || status === 'failed' || status === 'setup')
        throw new Problem('conflict', `its memory did not arrive: ${reason ?? status ?? 'nothing came'}`);
      return undefined;
    },
    { signal, timeoutMs: stoppedStepMs, lookMs: 20 },
  );
  const exports = (await monitor.run('query-block-exports')) as unknown[];
  if (exports.length > 0) throw new Problem('conflict', 'its disks are still being written by the source');
  const actions: object[] = [];
  for (let index = 0; index < disks; index += 1) {
    const node = diskNode(index);
    if ((await currentNode(guest, index)) === node) continue;
    actions.push({ type: 'blockdev-snapshot', data: { node: `${node}-base`, overlay: node } });
  }
  if (actions.length > 0) await monitor.run('transaction', { actions });
}

/** What only the way here needed. */
export async function tidyTarget(guest: Guest): Promise<void> {
  await takeKey(guest);
}

async function onFreePort(
  { address, ports }: Pick<TargetPlace, 'address' | 'ports'>,
  listen: (port: number) => Promise<unknown>,
  taken: ReadonlySet<number> = new Set(),
): Promise<number> {
  const avoid = new Set(taken);
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort(address, ports, avoid);
    try {
      await listen(port);
      return port;
    } catch (error) {
      if (attempt === attempts) throw error;
      avoid.add(port);
    }
  }
}
