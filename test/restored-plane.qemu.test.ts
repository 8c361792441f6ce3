import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { instance } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { describe, expect, it } from 'vitest';
import { processesOn } from '../demo/own-processes.js';
import { guest, guestUrl, makeWorkspace } from '../demo/world.js';
import { acts } from './tour-kills/acts.js';
import { startPlane } from './tour-kills/plane.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-nbd', join(root, '.cache/guest/guest.json')].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) ? [] : ['PostgreSQL of Debian, with pg_dump']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

describe.skipIf(lacks.length > 0)('a control plane that is restored under a guest that has moved since', () => {
  it('has it run where it is, once, untouched, and moves it again', { timeout: 240_000 }, async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const plane = await startPlane(signal);
    const { client, state } = plane;
    const act = async (name: string): Promise<void> =>
      await acts.find((each) => each.name === name)?.perform({ plane, signal, onPhase: () => undefined });
    const guests = (): readonly number[] => processesOn(state).flatMap(({ pid, program }) => (/qemu-system/.test(program) ? [pid] : []));
    /** Through its access endpoint, which is the restored server's. */
    const answers = async (): Promise<void> => {
      const url = await guestUrl(client, { signal });
      await expect.poll(async () => (await fetch(url).catch(() => undefined))?.status, { timeout: 60_000, interval: 200 }).toBe(200);
    };
    try {
      await makeWorkspace(client, { signal });
      await act('import');
      await act('deploy');
      const file = await plane.backUp();
      await act('warm move');
      const before = guests();
      expect(before).toHaveLength(1);
      const placed = (await client.get(instance, guest)).status?.placement;

      await plane.loseAndRestore(file);
      await expect
        .poll(async () => (await client.restoreDifferences()).hosts.map((host) => host.state), { timeout: 60_000 })
        .toEqual(['compared', 'compared']);
      const shown = await client.restoreDifferences();
      expect([...new Set(shown.items.map((item) => item.class))], JSON.stringify(shown.items)).toEqual(['moved']);
      expect(shown.items.map(({ type, host }) => `${type} ${host}`)).toContain(`instance ${placed?.host}`);
      expect(shown.items.every(({ decided }) => decided)).toBe(true);
      expect(guests()).toEqual(before);

      const released = await client.restoreRelease({});
      expect(released).toMatchObject({ held: [], withheld: 0, followed: shown.items.length });
      await expect.poll(async () => (await client.get(instance, guest)).status?.activity?.value, { timeout: 60_000 }).toBe('running');
      expect((await client.get(instance, guest)).status?.placement?.host).toBe(placed?.host);
      expect((await client.restoreDifferences()).withheld).toEqual([]);
      await answers();
      expect(guests()).toEqual(before);

      // Everything that a move needs is in the ledger again: keys, claims, disks, networks, the permit with its evidence.
      await act('second warm move');
      expect(guests()).toHaveLength(1);
      await answers();
    } catch (error) {
      process.stdout.write(plane.logs());
      throw error;
    } finally {
      stop.abort();
      await plane.destroy();
    }
  });
});
