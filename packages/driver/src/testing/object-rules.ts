import type { Handle } from '../observation.js';
import { absent, claim, type FacetRule, listed, present, problemOf, removed, sameHandle } from './rule.js';

/** Rules about creating, finding, changing, removing and listing while all is well. */
export const objectRules: readonly FacetRule[] = [
  {
    id: 'D1',
    title: 'finds by its key what was created',
    scope: 'facet',
    async check({ facet, of, key, ...trial }) {
      const name = key();
      const handle = await facet.create(of.spec, name);
      claim(sameHandle(await facet.find(name), handle), 'find must answer the handle that create answered');
      await removed({ facet, of, key, ...trial }, handle);
    },
  },
  {
    id: 'D2',
    title: 'makes one object however often it is created with the same key',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const key = trial.key();
      const first = await facet.create(of.spec, key);
      const second = await facet.create(of.spec, key);
      await present(trial, first);
      const third = await facet.create(of.spec, key);
      claim(sameHandle(second, first) && sameHandle(third, first), 'every create with one key must answer the same handle');
      const count = (await listed(facet)).filter((entry) => entry.key === key).length;
      claim(count === 1, `one key must make one object, not ${count}`);
      await removed(trial, first);
    },
  },
  {
    id: 'D3',
    title: 'makes one object when it is created several times at once with the same key',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const key = trial.key();
      // One may lose with a Problem that says to try again; none may make a second object.
      const answers = await Promise.allSettled(Array.from({ length: 5 }, async () => await facet.create(of.spec, key)));
      const handles = answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []));
      const [first] = handles;
      claim(first !== undefined, 'one of several creates at once must succeed');
      claim(
        handles.every((handle) => sameHandle(handle, first)),
        'creates at once with one key must answer the same handle',
      );
      await present(trial, first);
      const count = (await listed(facet)).filter((entry) => entry.key === key).length;
      claim(count === 1, `one key must make one object, not ${count}`);
      await removed(trial, first);
    },
  },
  {
    id: 'D4',
    title: 'finds within the declared settle time what a lost reply has made',
    scope: 'facet',
    async check(trial) {
      const { facet, of, world } = trial;
      claim(world.loseNextReply !== undefined, 'the world must be able to lose a reply, or name a gap for D4');
      const key = trial.key();
      world.loseNextReply();
      const problem = await problemOf('a create whose reply is lost', async () => await facet.create(of.spec, key));
      claim(problem.retry !== 'never', `a lost reply must not look final: ${problem.kind} may never be retried`);
      const deadline = performance.now() + world.connection.capabilities.settleSeconds * 1000;
      let handle = await facet.find(key);
      while (handle === undefined && performance.now() < deadline) handle = await facet.find(key);
      claim(handle !== undefined, 'what a lost reply has made must be found within settleSeconds');
      claim(sameHandle(await facet.create(of.spec, key), handle), 'creating again after a lost reply must answer the same object');
      const count = (await listed(facet)).filter((entry) => entry.key === key).length;
      claim(count === 1, `a lost reply must leave one object, not ${count}`);
      await removed(trial, handle);
    },
  },
  {
    id: 'D5',
    title: 'finds nothing under a key that was never used',
    scope: 'facet',
    async check({ facet, key }) {
      claim((await facet.find(key())) === undefined, 'find of an unused key must be undefined');
    },
  },
  {
    id: 'D6',
    title: 'makes two objects of two keys',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const [one, two] = [await facet.create(of.spec, trial.key()), await facet.create(of.spec, trial.key())];
      claim(!sameHandle(one, two), 'two keys must make two objects');
      await removed(trial, one);
      claim((await facet.observe(two)).type !== 'absent', 'removing one object must not remove another');
      await removed(trial, two);
    },
  },
  {
    id: 'D7',
    title: 'brings an object to present without further calls',
    scope: 'facet',
    async check(trial) {
      const handle = await trial.facet.create(trial.of.spec, trial.key());
      await present(trial, handle);
      await removed(trial, handle);
    },
  },
  {
    id: 'D8',
    title: 'keeps handles valid through JSON and a new connection',
    scope: 'facet',
    async check(trial) {
      const { facet, of, world } = trial;
      const key = trial.key();
      const handle = await facet.create(of.spec, key);
      await present(trial, handle);
      const stored = JSON.parse(JSON.stringify(handle)) as Handle;
      const fresh = await world.reconnect();
      try {
        const again = of.open(fresh);
        claim(again !== undefined, 'a new connection must have the same facets');
        claim((await again.observe(stored)).type === 'present', 'a stored handle must observe the same object through a new connection');
        claim(sameHandle(await again.find(key), handle), 'a new connection must find the same handle');
        await again.remove(stored);
      } finally {
        await fresh.close();
      }
      await absent(trial, handle);
    },
  },
  {
    id: 'D9',
    title: 'updates as often as it is asked and makes nothing new by it',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const key = trial.key();
      const handle = await facet.create(of.spec, key);
      await present(trial, handle);
      await facet.update(handle, of.spec);
      await present(trial, handle);
      if (of.changed !== undefined) {
        await facet.update(handle, of.changed);
        await facet.update(handle, of.changed);
        await present(trial, handle);
      }
      const count = (await listed(facet)).filter((entry) => entry.key === key).length;
      claim(count === 1, `updates must leave one object, not ${count}`);
      await removed(trial, handle);
    },
  },
  {
    id: 'D10',
    title: 'raises not-found for an update of what is gone, and does not bring it back',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const handle = await facet.create(of.spec, trial.key());
      await removed(trial, handle);
      const problem = await problemOf('an update of what is gone', async () => await facet.update(handle, of.spec));
      claim(problem.kind === 'not-found', `an update of what is gone must raise not-found, not ${problem.kind}`);
      claim((await facet.observe(handle)).type === 'absent', 'an update must not bring back what is gone');
    },
  },
  {
    id: 'D11',
    title: 'removes silently as often as it is asked',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const handle = await facet.create(of.spec, trial.key());
      await facet.remove(handle);
      await facet.remove(handle);
      await absent(trial, handle);
      await facet.remove(handle);
    },
  },
  {
    id: 'D12',
    title: 'neither finds nor lists what is gone',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const key = trial.key();
      await removed(trial, await facet.create(of.spec, key));
      claim((await facet.find(key)) === undefined, 'find of a removed object must be undefined');
      claim(!(await listed(facet)).some((entry) => entry.key === key), 'a removed object must not be listed');
    },
  },
  {
    id: 'D13',
    title: 'lists every object of ours once, with its key, through any connection',
    scope: 'facet',
    async check(trial) {
      const { facet, of, world } = trial;
      const made = new Map<string, Handle>();
      for (let count = 0; count < 5; count += 1) {
        const key = trial.key();
        made.set(key, await facet.create(of.spec, key));
      }
      // Whoever lists after a restore knows none of the handles.
      const fresh = await world.reconnect();
      try {
        const again = of.open(fresh);
        claim(again !== undefined, 'a new connection must have the same facets');
        const entries = await listed(again);
        for (const [key, handle] of made) {
          const found = entries.filter((entry) => entry.key === key);
          claim(found.length === 1, `every object must be listed once; ${key} was listed ${found.length} times`);
          claim(sameHandle(found[0]?.handle, handle), 'a listed handle must be the one that create answered');
        }
      } finally {
        await fresh.close();
      }
      for (const handle of made.values()) await removed(trial, handle);
    },
  },
  {
    id: 'D14',
    title: 'lists what stays while others come and go',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const made = new Map<string, Handle>();
      for (let count = 0; count < 5; count += 1) {
        const key = trial.key();
        made.set(key, await facet.create(of.spec, key));
      }
      let over = false;
      // In waves, so that the pages of a list see it grow and shrink.
      const pause = async (): Promise<void> => await new Promise((resolve) => setTimeout(resolve, 1));
      const churn = (async () => {
        const fleeting: Handle[] = [];
        while (!over && fleeting.length < 200) {
          const wave: Handle[] = [];
          for (let count = 0; count < 4; count += 1) {
            wave.push(await facet.create(of.spec, trial.key()));
            await pause();
          }
          fleeting.push(...wave);
          for (const handle of wave) {
            await facet.remove(handle);
            await pause();
          }
        }
        return fleeting;
      })();
      try {
        for (let round = 0; round < 5; round += 1) {
          const seen = new Map<string, number>();
          for await (const { key } of facet.list()) seen.set(key, (seen.get(key) ?? 0) + 1);
          for (const key of made.keys())
            claim(seen.get(key) === 1, `what stays must be listed once; ${key} was listed ${seen.get(key) ?? 0} times`);
        }
      } finally {
        over = true;
        for (const handle of await churn) await absent(trial, handle);
        for (const handle of made.values()) await removed(trial, handle);
      }
    },
  },
  {
    id: 'D15',
    title: 'refuses what it cannot do before anything is created',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      claim(of.refused.length > 0, 'the world must give a spec that the driver refuses, or name a gap for D15');
      for (const { title, spec } of of.refused) {
        const key = trial.key();
        const problem = await problemOf(`creating ${title}`, async () => await facet.create(spec, key));
        const kinds = ['unsupported', 'validation', 'conflict', 'not-found'];
        claim(kinds.includes(problem.kind), `${title} must be refused as one of ${kinds.join(', ')}, not ${problem.kind}`);
        claim((await facet.find(key)) === undefined, `nothing may be left of ${title}`);
        claim(!(await listed(facet)).some((entry) => entry.key === key), `nothing may be listed of ${title}`);
      }
    },
  },
];
