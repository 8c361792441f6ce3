import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type ResourceOf, rest } from '@virt8ra/client';
import { instance, migration } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { describe, expect, it } from 'vitest';
import { startAsking } from '../demo/asking-client.js';
import { processesOn } from '../demo/own-processes.js';
import { deleteGuest, guest, guestUrl, makeWorkspace } from '../demo/world.js';
import { acts, placeOf } from './tour-kills/acts.js';
import { startPlane } from './tour-kills/plane.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-nbd', join(root, '.cache/guest/guest.json')].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

type Migration = ResourceOf<typeof migration>;

describe.skipIf(lacks.length > 0)('a real guest that was moved and may go back', () => {
  it('returns with what it has written meanwhile, and stays for good once it is released', { timeout: 300_000 }, async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const plane = await startPlane(signal);
    const { client } = plane;
    const tools = { plane, signal, onPhase: () => undefined };
    const act = async (name: string): Promise<void> => await acts.find((each) => each.name === name)?.perform(tools);
    const until = async (
      name: string,
      what: string,
      reached: (status: NonNullable<Migration['status']>) => boolean,
    ): Promise<Migration> => {
      const deadline = performance.now() + 120_000;
      for (;;) {
        const seen = await client.get(migration, { ...guest, name }, signal);
        if (seen.status !== undefined && reached(seen.status)) return seen;
        if (performance.now() > deadline || seen.status?.phase === 'failed' || seen.status?.phase === 'returned')
          throw new Error(`${name} was never ${what}: ${JSON.stringify(seen.status)}`);
        await rest(100, signal);
      }
    };
    const move = async (name: string): Promise<string> => {
      const from = await placeOf(client, signal);
      const to = plane.sites.find((site) => site.name !== from)?.name ?? '';
      const spec = { instanceRef: `instances/${guest.name}`, toSite: to, mode: 'warm', wayBack: { hours: 1 } } as const;
      await client.put(migration, { ...guest, name }, { spec });
      await until(name, 'kept', ({ phase }) => phase === 'kept');
      expect(await placeOf(client, signal)).toBe(to);
      return to;
    };
    const guests = (): number => processesOn(plane.state).filter(({ program }) => /qemu-system/.test(program)).length;
    let asking: ReturnType<typeof startAsking> | undefined;
    try {
      await makeWorkspace(client, { signal });
      await act('import');
      await act('deploy');
      const home = await placeOf(client, signal);
      asking = startAsking(await guestUrl(client, { signal }));
      const before = await asking.next(performance.now(), 120, signal);

      await move('there');
      const flowing = await until('there', 'current', ({ wayBack }) => wayBack?.reverse.state === 'current');
      expect(flowing.status?.wayBack).toMatchObject({ at: { site: home }, retainedBytes: expect.any(Number) });
      // The guest counts on its disk, and counts its boots there: what it writes now exists at the target alone.
      const there = await asking.next(performance.now(), 120, signal);
      expect(there.boots).toBe(before.boots + 1);
      const written = await asking.next(performance.now() + 3_000, 120, signal);
      await client.act(migration, { ...guest, name: 'there' }, 'return', { body: { mode: 'warm' } });
      const back = await until('there', 'brought back', ({ phase }) => phase === 'brought-back');
      const { status } = back;
      expect(status?.return).toMatchObject({ mode: 'warm', digests: [{ equal: true }, { equal: true }], permitEpoch: 3 });
      // Its disks began as the retained ones: what differs was sent, and no more.
      expect(status?.return?.bytes ?? Number.POSITIVE_INFINITY).toBeLessThan((status?.bytes ?? 0) / 2);
      expect(await placeOf(client, signal)).toBe(home);
      const returned = await asking.next(performance.now(), 120, signal);
      expect(returned.boots).toBe(there.boots + 1);
      expect(returned.counter).toBeGreaterThanOrEqual(written.counter);
      expect(asking.stepsBack).toBe(0);
      expect(guests()).toBe(1);

      const away = await move('for-good');
      await client.act(migration, { ...guest, name: 'for-good' }, 'release');
      const released = await until('for-good', 'done', ({ phase }) => phase === 'done');
      expect(released.status?.wayBack).toMatchObject({ ended: 'released' });
      expect((await client.get(instance, guest, signal)).status?.placement?.site).toBe(away);
      expect(asking.stepsBack).toBe(0);
      expect(guests()).toBe(1);
      asking.stop();
      await deleteGuest(client, { signal, withinSeconds: 90 });
    } catch (error) {
      process.stdout.write(plane.logs());
      throw error;
    } finally {
      asking?.stop();
      stop.abort();
      await plane.destroy();
    }
  });
});
