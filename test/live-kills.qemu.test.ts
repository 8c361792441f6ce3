import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { rest } from '@virt8ra/cli';
import { migration } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AskingClient, startAsking } from '../demo/asking-client.js';
import { reasonOf } from '../demo/settled.js';
import { guest, guestUrl, makeWorkspace } from '../demo/world.js';
import { canPartition, drawLiveBlow, type LiveSight, strikeLive, tellLiveBlow } from './live-kills/blow.js';
import { acts, placeOf } from './tour-kills/acts.js';
import { type Plane, startPlane } from './tour-kills/plane.js';
import { randomFrom } from './tour-kills/random.js';
import { startWatch, type Watch } from './tour-kills/watch.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', join(root, '.cache/guest/guest.json')].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);
else if (!canPartition()) process.stdout.write('skipped: hosts are not parted, for lack of root or nftables\n');

const given = fc.readConfigureGlobal().seed;
const seeds = given === undefined ? Array.from({ length: 10 }, (_, index) => index + 1) : [given];
/** From the moment at which all that was hit is up again until the move is over and the guest answers. */
const recoverySeconds = 90;

/** One guest goes to and fro; each seed is one live move that loses something. */
describe.skipIf(lacks.length > 0)('a live move that loses something', () => {
  const stop = new AbortController();
  const story: string[] = [];
  let plane: Plane;
  let watch: Watch;
  let asking: AskingClient;

  beforeAll(async () => {
    plane = await startPlane(stop.signal);
    watch = startWatch(plane.state, () => plane.sites.map(({ name }) => plane.agentOf(name).pid));
    await makeWorkspace(plane.client, { signal: stop.signal });
    for (const act of acts.filter(({ name }) => name === 'import' || name === 'deploy'))
      await act.perform({ plane, signal: stop.signal, onPhase: () => undefined });
    asking = startAsking(await guestUrl(plane.client, plane.asRoot, { signal: stop.signal, withinSeconds: 60 }));
    await asking.next(performance.now(), 120, stop.signal);
  }, 240_000);
  afterAll(async () => {
    asking?.stop();
    watch?.stop();
    stop.abort();
    process.stdout.write(`${story.join('\n')}\n`);
    await plane?.destroy();
  }, 120_000);

  it.each(seeds)(
    'ends with exactly one guest that runs, and never had two, seed %i',
    async (seed) => {
      const blow = drawLiveBlow(randomFrom(seed));
      const from = (await placeOf(plane.client, stop.signal)) ?? '';
      const to = plane.sites.find(({ name }) => name !== from)?.name ?? '';
      const before = asking.answers.at(-1);
      const sight: LiveSight = { phase: 'plan', over: false };
      const begin = performance.now();
      try {
        const moved = move(`live-${seed}`, from, to, sight);
        moved.catch(() => undefined);
        const hit = await strikeLive(blow, plane, { from, to }, sight, stop.signal);
        const upAt = performance.now();
        const phase = await within(recoverySeconds * 1000, moved, () => `the move is in ${sight.phase}`);
        const left = recoverySeconds * 1000 - (performance.now() - upAt);
        const after = await within(
          left,
          asking.next(performance.now(), 120, stop.signal),
          () => `the guest does not answer after the move (${phase})`,
        );
        await within(left, alone(), () => `${watch.guests().length} processes of the guest are left`);
        const boot = after.bootId === before?.bootId ? 'same boot' : 'booted anew';
        story.push(
          `seed ${seed}: ${tellLiveBlow(blow)}${hit ? '' : ' (nothing to hit)'}; ${phase} after ${((performance.now() - begin) / 1000).toFixed(1)} s, ${boot}, the client missed ${(asking.longestGap(begin) / 1000).toFixed(1)} s`,
        );
        // Nothing but the end of its process, or of what it was resumed from, boots a guest anew.
        if (blow.fault === 'server' && phase === 'done') expect(after.bootId).toBe(before?.bootId);
        expect(asking.stepsBack).toBe(0);
        expect(watch.doubles).toEqual([]);
      } catch (error) {
        process.stdout.write(`seed ${seed}: ${tellLiveBlow(blow)}\n${plane.logs()}\n`);
        throw error;
      }
    },
    180_000,
  );

  async function move(name: string, from: string, to: string, sight: LiveSight): Promise<string> {
    const address = { ...guest, name };
    await plane.client.put(migration, address, { spec: { instanceRef: `instances/${guest.name}`, toSite: to, mode: 'live' } });
    for (;;) {
      const { status } = await plane.client.get(migration, address, stop.signal);
      sight.phase = status?.phase ?? 'plan';
      if (['done', 'failed', 'returned'].includes(sight.phase)) {
        sight.over = true;
        const placed = await placeOf(plane.client, stop.signal);
        const expected = sight.phase === 'done' ? to : from;
        if (placed !== expected) throw new Error(`the move is ${sight.phase}, and the guest is at ${placed}, not at ${expected}`);
        if (sight.phase === 'failed') throw new Error(reasonOf(status));
        return sight.phase;
      }
      await rest(50, stop.signal);
    }
  }

  async function alone(): Promise<void> {
    while (watch.guests().length !== 1) await sleep(100, undefined, { signal: stop.signal });
  }
});

async function within<Result>(milliseconds: number, work: Promise<Result>, what: () => string): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${recoverySeconds} s: ${what()}`)), Math.max(0, milliseconds));
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
