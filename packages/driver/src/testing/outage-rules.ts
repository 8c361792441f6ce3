import { Problem } from '@virt8ra/contract';
import { absent, type ConnectionRule, claim, type FacetRule, type FacetTrial, present, problemOf, removed, sameHandle } from './rule.js';

/** Rules about truth: what is said while the provider cannot be reached, when it was seen, and what errors tell. */
export const outageRules: readonly FacetRule[] = [
  {
    id: 'D16',
    title: 'says unknown, never absent, while the provider cannot be reached',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const key = trial.key();
      const handle = await facet.create(of.spec, key);
      await present(trial, handle);
      await whileCutOff(trial, async () => {
        const seen = await facet.observe(handle);
        claim(seen.type === 'unknown', `an object that cannot be reached must be unknown, not ${seen.type}`);
        claim(seen.reason !== '', 'unknown must say why');
        const found = await facet.find(key).catch((thrown: unknown) => {
          claim(thrown instanceof Problem && thrown.retry !== 'never', 'a find that cannot tell must raise a Problem that may be retried');
          return handle;
        });
        claim(sameHandle(found, handle), 'find must not deny what it cannot look at');
      });
      await present(trial, handle);
      await removed(trial, handle);
    },
  },
  {
    id: 'D17',
    title: 'keeps the time of the last sight while the provider cannot be reached',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const handle = await facet.create(of.spec, trial.key());
      await present(trial, handle);
      await whileCutOff(trial, async () => {
        const asked = Date.now();
        const first = await facet.observe(handle);
        const second = await facet.observe(handle);
        claim(first.type === 'unknown' && second.type === 'unknown', 'an object that cannot be reached must be unknown');
        if (first.lastSeen === undefined || second.lastSeen === undefined) return;
        claim(first.lastSeen.at === second.lastSeen.at, 'the last sight must not move with the question');
        claim(Date.parse(first.lastSeen.at) <= asked, 'the last sight must be before the outage was asked about');
      });
      await removed(trial, handle);
    },
  },
  {
    id: 'D18',
    title: 'does not take a removal for done that the provider has not confirmed',
    scope: 'facet',
    async check(trial) {
      const { facet, of } = trial;
      const handle = await facet.create(of.spec, trial.key());
      await present(trial, handle);
      await whileCutOff(trial, async () => {
        await facet.remove(handle).catch((thrown: unknown) => {
          claim(
            thrown instanceof Problem && thrown.retry !== 'never',
            'a removal that cannot be asked for must raise a Problem that may be retried',
          );
        });
        const seen = await facet.observe(handle);
        claim(seen.type !== 'absent', 'what cannot be looked at must not be absent');
      });
      await facet.remove(handle);
      await absent(trial, handle);
    },
  },
  {
    id: 'D19',
    title: 'gives the time and the source of what it saw',
    scope: 'facet',
    async check(trial) {
      const before = Date.now();
      const handle = await trial.facet.create(trial.of.spec, trial.key());
      const seen = await present(trial, handle);
      claim(seen.source !== '', 'an observation must name its source');
      claim(
        seen.type === 'present' && /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(seen.at),
        'an observation must have an RFC 3339 time in UTC',
      );
      // Clocks may differ by a little; a sight is never of the future and never older than the object.
      claim(Date.parse(seen.at) <= Date.now() + 1000, 'an observation must not be of the future');
      claim(Date.parse(seen.at) >= before - 1000, 'an object must not be seen before it was made');
      await removed(trial, handle);
    },
  },
  {
    id: 'D20',
    title: 'refuses a handle that is not its own',
    scope: 'facet',
    async check({ facet, of, key, ...trial }) {
      const handle = await facet.create(of.spec, key());
      for (const foreign of [
        { ...handle, driver: 'another-driver' },
        { ...handle, version: handle.version + 1000 },
        { ...handle, value: 'damaged' },
      ]) {
        await problemOf('observing by a handle of someone else', async () => await facet.observe(foreign));
        await problemOf('removing by a handle of someone else', async () => await facet.remove(foreign));
      }
      await removed({ facet, of, key, ...trial }, handle);
    },
  },
  {
    id: 'D21',
    title: 'tells no secrets in its errors',
    scope: 'facet',
    async check(trial) {
      const { facet, of, world } = trial;
      const raised: unknown[] = [];
      const collect = async (call: () => Promise<unknown>): Promise<void> => {
        try {
          await call();
        } catch (thrown) {
          raised.push(thrown);
        }
      };
      const handle = await facet.create(of.spec, trial.key());
      for (const { spec } of of.refused) {
        await collect(async () => await facet.create(spec, trial.key()));
        await collect(async () => await facet.update(handle, spec));
      }
      await collect(async () => await facet.update({ ...handle, value: 'damaged' }, of.spec));
      await whileCutOff(trial, async () => {
        await collect(async () => await facet.observe(handle));
        await collect(async () => await facet.update(handle, of.spec));
        await collect(async () => await facet.find(trial.key()));
      });
      for (const thrown of raised) {
        claim(thrown instanceof Problem, `a driver must raise Problems only, not ${String(thrown)}`);
        const told = everythingOf(thrown);
        for (const secret of world.secrets) claim(!told.includes(secret), 'an error must not hold a secret');
      }
      await removed(trial, handle);
    },
  },
];

export const connectionRules: readonly ConnectionRule[] = [
  {
    id: 'D22',
    title: 'probes to a verdict with a reason and raises nothing',
    scope: 'connection',
    async check(world) {
      const well = await world.connection.probe();
      claim(well.healthy, `a provider that is well must be healthy: ${well.reason ?? 'no reason given'}`);
      await world.cutOff();
      try {
        const cut = await world.connection.probe();
        claim(!cut.healthy, 'a provider that cannot be reached must not be healthy');
        claim(cut.reason !== undefined && cut.reason !== '', 'an unhealthy provider must say why');
      } finally {
        await world.restore();
      }
    },
  },
  {
    id: 'D23',
    title: 'closes as often as it is asked, and answers a Problem from then on',
    scope: 'connection',
    async check(world) {
      const connection = await world.reconnect();
      await connection.close();
      await connection.close();
      for (const of of world.cases) {
        const facet = of.open(connection);
        if (facet !== undefined) await problemOf('a call after close', async () => await facet.find('never-used'));
      }
      const { healthy } = await world.connection.probe();
      claim(healthy, 'closing one connection must not harm another');
    },
  },
  {
    id: 'D24',
    title: 'declares limits that can be true',
    scope: 'connection',
    async check(world) {
      const { capabilities, disks, instances } = world.connection;
      claim(Number.isFinite(capabilities.settleSeconds) && capabilities.settleSeconds >= 0, 'settleSeconds must be a duration');
      claim(capabilities.maxVolumesPerInstance >= (instances === undefined ? 0 : 1), 'an instance needs at least a boot volume');
      claim(capabilities.maxNicsPerInstance >= 0, 'maxNicsPerInstance must not be negative');
      claim(instances === undefined || capabilities.firmwares.length > 0, 'an instance needs a firmware');
      claim(capabilities.migrationModes.length === 0 || disks !== undefined, 'whoever migrates must have the facet disks');
    },
  },
];

async function whileCutOff(trial: FacetTrial, work: () => Promise<void>): Promise<void> {
  await trial.world.cutOff();
  try {
    await work();
  } finally {
    await trial.world.restore();
  }
}

/** Message, stack, facts and causes, as a log or an answer would show them. */
function everythingOf(thrown: unknown, depth = 0): string {
  if (!(thrown instanceof Error) || depth > 8) return String(thrown);
  const facts = thrown instanceof Problem ? JSON.stringify([thrown.facts, thrown.sources]) : '';
  return [thrown.message, thrown.stack ?? '', facts, everythingOf(thrown.cause, depth + 1)].join('\n');
}
