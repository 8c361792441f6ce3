import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hasPostgres } from '@virt8ra/engine/testing';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type AskingClient, startAsking } from '../demo/asking-client.js';
import { guestUrl, makeWorkspace } from '../demo/world.js';
import { type Act, acts, placeOf } from './tour-kills/acts.js';
import { type Blow, drawBlow, type Sight, strike, tellBlow } from './tour-kills/blow.js';
import { type Plane, startPlane } from './tour-kills/plane.js';
import { randomFrom } from './tour-kills/random.js';
import { namespaceExists, namespacesUsedBy, traces } from './tour-kills/remains.js';
import { startWatch, type Watch } from './tour-kills/watch.js';
import { within } from './within.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-nbd', join(root, '.cache/guest/guest.json')].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const given = fc.readConfigureGlobal().seed;
const seeds = given === undefined ? [1, 2] : [given];
/** From the moment at which all that was killed is up again until the act is through and the guest answers. */
const recoverySeconds = 30;
/** The same with a boot in isolation, which may begin anew. */
const askedRecoverySeconds = 75;

/** One seed is one tour: each act loses something to kill -9 at some moment. */
describe.skipIf(lacks.length > 0)('a tour in which every act loses something to kill -9', () => {
  it.each(seeds)('goes on or back by itself and leaves nothing behind, seed %i', async (seed) => {
    const stop = new AbortController();
    const plane = await startPlane(stop.signal);
    const watch = startWatch(plane.state, () => plane.sites.map(({ name }) => plane.agentOf(name).pid));
    const story: string[] = [];
    try {
      await new Tour(plane, watch, stop.signal, story).walk(seed);
    } catch (error) {
      process.stdout.write(`seed ${seed}\n${story.join('\n')}\n${plane.logs()}\n`);
      throw error;
    } finally {
      watch.stop();
      stop.abort();
      await plane.destroy();
    }
    process.stdout.write(`seed ${seed}\n${story.join('\n')}\n`);
  });
});

class Tour {
  readonly #plane: Plane;
  readonly #watch: Watch;
  readonly #signal: AbortSignal;
  readonly #story: string[];
  #asking: AskingClient | undefined;

  constructor(plane: Plane, watch: Watch, signal: AbortSignal, story: string[]) {
    this.#plane = plane;
    this.#watch = watch;
    this.#signal = signal;
    this.#story = story;
  }

  async walk(seed: number): Promise<void> {
    const random = randomFrom(seed);
    const blows = acts.map((act) => ({ act, blow: drawBlow(act, random) }));
    const before = await this.#traces();
    let namespaces: readonly string[] = [];
    try {
      await makeWorkspace(this.#plane.client, { signal: this.#signal });
      for (const { act, blow } of blows) {
        await this.#perform(act, blow);
        namespaces = [
          ...new Set([...namespaces, ...this.#plane.sites.flatMap(({ name }) => namespacesUsedBy(this.#plane.agentOf(name).id))]),
        ];
      }
    } finally {
      this.#asking?.stop();
    }
    await expect.poll(() => this.#watch.living().map(({ words }) => words.join(' ')), { timeout: 30_000 }).toEqual([]);
    await expect.poll(async () => await this.#traces(), { timeout: 30_000, interval: 500 }).toEqual(before);
    expect(namespaces.filter(namespaceExists)).toEqual([]);
    await this.#plane.stop();
    expect(this.#watch.living()).toEqual([]);
    expect(this.#watch.doubles).toEqual([]);
  }

  /** An agent that has just come back may still be tidying. */
  async #traces(): Promise<readonly string[]> {
    return await traces(this.#plane);
  }

  async #perform(act: Act, blow: Blow): Promise<void> {
    this.#story.push(`${act.name}: ${tellBlow(blow)}`);
    const source = (await placeOf(this.#plane.client, this.#signal)) ?? this.#plane.sites[0].name;
    const sight: Sight = { phase: 'plan', over: false };
    const begin = performance.now();
    const seen: string[] = [];
    const onPhase = (phase: string) => {
      if (sight.phase !== phase) seen.push(`${phase} ${since(begin)}`);
      sight.phase = phase;
    };
    const performed = act.perform({ plane: this.#plane, signal: this.#signal, onPhase }).finally(() => {
      sight.over = true;
    });
    const struck = strike(blow, this.#plane, source, sight, this.#signal).then((victim) => {
      seen.push(`${victim} up again ${since(begin)}`);
      return performance.now();
    });
    const through = Promise.all([performed, struck]);
    through.catch(() => undefined);
    // The clock runs from the end of the strike: before that the act cannot be through.
    const upAt = await Promise.race([struck, performed.then(async () => await struck)]);
    const seconds = act.asks === true ? askedRecoverySeconds : recoverySeconds;
    await within(seconds * 1000, through, () => `${act.name} was not through: ${seen.join(', ')}`);
    seen.push(`through ${since(begin)}`);
    if (act.leavesGuest) {
      await within(seconds * 1000 - (performance.now() - upAt), this.#answers(), () => `the guest did not answer after ${act.name}`);
      seen.push(`answers ${since(begin)}`);
    }
    this.#story.push(`  ${seen.join(', ')}; recovered after ${((performance.now() - upAt) / 1000).toFixed(1)} s`);
    expect(this.#watch.doubles).toEqual([]);
    this.#checkAnswers();
  }

  /** A page of the guest that was asked for from now on, and one process of it. */
  async #answers(): Promise<void> {
    this.#asking ??= startAsking(await guestUrl(this.#plane.client, { signal: this.#signal, withinSeconds: 60 }));
    await this.#asking.next(performance.now(), 120, this.#signal);
    while (this.#watch.guests().length !== 1) await sleep(100, undefined, { signal: this.#signal });
  }

  /** Synced each second, so that no crash takes anything back; and a boot that was over does not answer again. */
  #checkAnswers(): void {
    const answers = this.#asking?.answers ?? [];
    expect(this.#asking?.stepsBack ?? 0).toBe(0);
    const boots = answers.map(({ bootId }) => bootId).filter((bootId, index, all) => bootId !== all[index - 1]);
    expect(boots).toEqual([...new Set(boots)]);
  }
}

function since(begin: number): string {
  return `${((performance.now() - begin) / 1000).toFixed(1)} s`;
}
