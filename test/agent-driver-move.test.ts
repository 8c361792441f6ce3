import type { Connection, Handle, InstanceRealizationSpec, SendSpec } from '@virt8ra/driver';
import { createAgentDriver } from '@virt8ra/drivers';
import { hasPostgres, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import { type FleetFixture, fleetMigrations, startFleetFixture } from '@virt8ra/server/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const ready = (await hasPostgres('debian')) || (await hasPostgres('embedded'));
if (!ready) process.stdout.write('skipped: PostgreSQL is not installed\n');

/** A move as the control plane makes it: by facets of two sites only, without a word about hosts' objects. */
describe.skipIf(!ready)('a move between two agent sites', () => {
  let postgres: TestPostgres;
  let fixture: FleetFixture;
  let beta: Awaited<ReturnType<FleetFixture['enrol']>>;
  let here: Required<Connection>;
  let there: Required<Connection>;

  beforeEach(async () => {
    postgres = await startTestPostgres();
    fixture = await startFleetFixture(await postgres.createDatabase(fleetMigrations));
    await fixture.enrol('alpha', 'here');
    beta = await fixture.enrol('beta', 'there');
    const driver = createAgentDriver(fixture.fleet.port);
    here = (await driver.connect({ site: 'here' })) as Required<Connection>;
    there = (await driver.connect({ site: 'there' })) as Required<Connection>;
  }, 60_000);
  afterEach(async () => {
    await fixture.stop();
    await postgres.stop();
    expect(fixture.hosts.violations).toEqual([]);
  }, 60_000);

  async function until<Status>(
    what: string,
    observe: () => Promise<{ readonly type: string; readonly status?: Status }>,
    holds: (status: Status) => boolean,
  ): Promise<Status> {
    return await fixture.until(what, async () => {
      const { status } = await observe();
      return status !== undefined && holds(status) && status;
    });
  }
  const instanceOn = (host: string, volume: Handle, change: Partial<InstanceRealizationSpec> = {}): InstanceRealizationSpec => ({
    host,
    instance: 'res_web',
    name: 'web',
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB: 128,
    power: 'on',
    restarts: 0,
    volumes: [volume],
    nics: [],
    seed: { instanceId: 'i-1', hostname: 'web', sshKeys: [] },
    exposedPorts: [],
    ...change,
  });

  it.each(['warm', 'cold'] as const)('brings disks and permit across: %s', async (mode) => {
    const sizeBytes = 4_000_000;
    const source = await here.blockStorages.create({ host: 'alpha', sizeBytes, source: { type: 'blank' }, settle: false }, 'disk-g1');
    const spec = instanceOn('alpha', source, { permit: { epoch: 1, holder: 'alpha' } });
    const instance = await here.instances.create(spec, 'web-g1');
    const first = await until(
      'it runs',
      async () => await here.instances.observe(instance),
      ({ activity }) => activity === 'running',
    );
    expect(first).toMatchObject({ host: 'alpha', permitEpoch: 1 });

    const target = await there.blockStorages.create(
      { host: 'beta', sizeBytes, source: { type: 'incoming', transferId: 'move' }, settle: false },
      'disk-g2',
    );
    const receive = {
      host: 'beta',
      disks: [{ volume: target, sizeBytes }],
      peerName: here.disks.peerName('alpha'),
      goal: 'receive',
    } as const;
    const receiver = await there.disks.receive(receive, 'move');
    expect(await there.disks.receive(receive, 'move')).toEqual(receiver);
    const { address = '', port = 0 } = await until(
      'it listens',
      async () => await there.disks.observe(receiver),
      ({ state }) => state === 'listening',
    );
    const send: SendSpec = {
      host: 'alpha',
      mode,
      instance,
      disks: [{ volume: source, sizeBytes }],
      peer: { name: there.disks.peerName('beta'), address, port },
      minPasses: 2,
      goal: 'copy',
      epoch: 1,
    };
    const sender = await here.disks.send(send, 'move');
    await until(
      'it has converged',
      async () => await here.disks.observe(sender),
      ({ state }) => state === 'converged',
    );
    await here.disks.send({ ...send, goal: 'finish' }, 'move');
    const sent = await until(
      'it has finished',
      async () => await here.disks.observe(sender),
      ({ state }) => state === 'finished',
    );
    const received = await until(
      'it has arrived',
      async () => await there.disks.observe(receiver),
      ({ state }) => state === 'finished',
    );
    expect(received.roots).toEqual(sent.roots);

    const { surrender } = await until(
      'the permit is given up',
      async () => await here.instances.observe(instance),
      (status) => status.surrender?.epoch === 1,
    );
    if (surrender === undefined) throw new Error('there is no surrender');
    expect(fixture.fleet.surrenderFault(surrender, 'res_web', 1)).toBeUndefined();
    const moved = instanceOn('beta', target, {
      permit: { epoch: 2, holder: 'beta', evidence: surrender },
      ...(first.machine === undefined ? {} : { machine: first.machine }),
    });
    const incoming = await there.instances.create(moved, 'web-g2');
    await until(
      'it runs there',
      async () => await there.instances.observe(incoming),
      ({ activity }) => activity === 'running',
    );

    for (const remove of [
      here.disks.remove(sender),
      there.disks.remove(receiver),
      here.instances.remove(instance),
      here.blockStorages.remove(source),
    ])
      await remove;
    await fixture.until(
      'the source is gone',
      async () =>
        (await here.instances.observe(instance)).type === 'absent' && (await here.blockStorages.observe(source)).type === 'absent',
    );
    await fixture.until('the transfer is forgotten', async () => (await there.disks.observe(receiver)).type === 'absent');
    expect((await there.instances.observe(incoming)).type).toBe('present');
  });

  it('is broken, with the host’s own words, when it cannot go on, and can be taken back', async () => {
    const sizeBytes = 4_000_000;
    const source = await here.blockStorages.create({ host: 'alpha', sizeBytes, source: { type: 'blank' }, settle: false }, 'disk-g1');
    const spec = instanceOn('alpha', source, { permit: { epoch: 1, holder: 'alpha' } });
    const instance = await here.instances.create(spec, 'web-g1');
    const running = async () =>
      await until(
        'it runs',
        async () => await here.instances.observe(instance),
        ({ activity }) => activity === 'running',
      );
    await running();
    const incoming = { host: 'beta', sizeBytes, source: { type: 'incoming', transferId: 'move' }, settle: false } as const;
    const target = await there.blockStorages.create(incoming, 'disk-g2');
    const disks = [{ volume: target, sizeBytes }];
    const receiver = await there.disks.receive({ host: 'beta', disks, peerName: here.disks.peerName('alpha'), goal: 'receive' }, 'move');
    const { address = '', port = 0 } = await until(
      'it listens',
      async () => await there.disks.observe(receiver),
      ({ state }) => state === 'listening',
    );
    const peer = { name: there.disks.peerName('beta'), address, port };
    const from = { host: 'alpha', mode: 'warm', instance, disks: [{ volume: source, sizeBytes }], peer, minPasses: 2, epoch: 1 } as const;
    const sender = await here.disks.send({ ...from, goal: 'copy' }, 'move');
    await until(
      'it copies',
      async () => await there.disks.observe(receiver),
      ({ bytes }) => bytes > 0,
    );
    const seen = await beta.until('something was seen', () => beta.observed('transfer', 'move'));
    beta.post('transfer', 'move', { ...seen, state: 'failed', problem: { code: 'exhausted', message: 'the disk is full: 1 of 2 MiB' } });
    const broken = await fixture.until('it is broken', async () => {
      const found = await there.disks.observe(receiver);
      return found.type === 'broken' && found;
    });
    expect(broken).toMatchObject({
      status: { state: 'failed' },
      problem: { kind: 'exhausted', message: 'the disk is full: 1 of 2 MiB', facts: { code: 'exhausted', host: 'beta' } },
    });

    await here.disks.send({ ...from, goal: 'abort' }, 'move');
    await until(
      'the source has let go',
      async () => await here.disks.observe(sender),
      ({ state }) => state === 'aborted',
    );
    await Promise.all([here.disks.remove(sender), there.disks.remove(receiver), there.blockStorages.remove(target)]);
    await fixture.until(
      'nothing of it is left',
      async () => (await there.disks.observe(receiver)).type === 'absent' && (await there.blockStorages.observe(target)).type === 'absent',
    );
    expect(await running()).toMatchObject({ host: 'alpha', permitEpoch: 1 });
  });

  it('refuses to use at one host what is on another', async () => {
    const volume = await here.blockStorages.create({ host: 'alpha', sizeBytes: 1, source: { type: 'blank' }, settle: false }, 'disk-g1');
    await expect(there.instances.create(instanceOn('beta', volume), 'web-g1')).rejects.toMatchObject({ kind: 'conflict' });
    expect(await there.instances.find('web-g1')).toBeUndefined();
    await expect(
      here.blockStorages.update(volume, { host: 'beta', sizeBytes: 1, source: { type: 'blank' }, settle: false }),
    ).rejects.toMatchObject({
      kind: 'unsupported',
    });
  });

  it('shows the hosts of a site as placement needs them', async () => {
    await fixture.until('the inventory came', async () => (await here.hosts.list())[0]?.inventory);
    expect(await here.hosts.list()).toMatchObject([{ host: 'alpha', connected: true, inventory: { architecture: 'amd64' } }]);
  });
});
