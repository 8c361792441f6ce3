import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseConfig, type RunningAgent, silentLog, startAgent } from '@virt8ra/agent';
import type { Connection } from '@virt8ra/driver';
import { createAgentDriver } from '@virt8ra/drivers';
import { hasPostgres, startTestPostgres, type TestPostgres } from '@virt8ra/engine/testing';
import { type FleetFixture, fleetMigrations, startFleetFixture } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const ready = existsSync('/usr/bin/qemu-img') && ((await hasPostgres('debian')) || (await hasPostgres('embedded')));
if (!ready) process.stdout.write('skipped: qemu-img or PostgreSQL is not installed\n');

/** The real agent against the real fleet, with everything but a guest. */
describe.skipIf(!ready)('the agent and the fleet', () => {
  let postgres: TestPostgres;
  let fixture: FleetFixture;
  let folder: string;
  let agent: RunningAgent;
  let site: Required<Connection>;

  const start = async (): Promise<RunningAgent> => {
    const { token, caSha256, url } = await fixture.fleet.createEnrolment('alpha', 'here');
    const given = { server: url, token, 'ca-sha256': caSha256, state: join(folder, 'state'), network: 'user', 'reserve-storage-gib': '0' };
    const config = parseConfig(given, { VIRT8RA_AGENT_RUNTIME: join(folder, 'run') }, () => '', process.getuid?.() ?? 0);
    return await startAgent(config, silentLog);
  };

  beforeAll(async () => {
    postgres = await startTestPostgres();
    fixture = await startFleetFixture(await postgres.createDatabase(fleetMigrations), { silenceSeconds: 2 });
    folder = await mkdtemp(join(tmpdir(), 'v8a-'));
    agent = await start();
    site = (await createAgentDriver(fixture.fleet.port).connect({ site: 'here' })) as Required<Connection>;
  });
  afterAll(async () => {
    await agent?.stop();
    await fixture?.stop();
    await postgres?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  it('get to know each other', async () => {
    const status = await fixture.until('the inventory came', async () =>
      (await fixture.fleet.hostStatus(['alpha'])).find(({ inventory }) => inventory !== undefined),
    );
    expect(status).toMatchObject({ connected: true, site: 'here', inventory: { agent: { version: status.agentVersion } } });
    expect(fixture.log.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
  });

  it('make and remove a network and a block storage', async () => {
    const network = await site.networks.create({ host: 'alpha', vni: 7, mtu: 1400, gateways: ['10.0.0.1/24'] }, 'net-1');
    const disk = await site.blockStorages.create(
      { host: 'alpha', sizeBytes: 1024 ** 2, source: { type: 'blank' }, settle: false },
      'disk-1',
    );
    await fixture.until(
      'both are there',
      async () => (await site.networks.observe(network)).type === 'present' && (await site.blockStorages.observe(disk)).type === 'present',
    );
    expect(await site.networks.observe(network)).toMatchObject({ status: { reach: 'island' } });
    await site.networks.remove(network);
    await site.blockStorages.remove(disk);
    await fixture.until(
      'both are gone',
      async () => (await site.networks.observe(network)).type === 'absent' && (await site.blockStorages.observe(disk)).type === 'absent',
    );
  });

  it('know what is there again after the agent was away', async () => {
    const disk = await site.blockStorages.create(
      { host: 'alpha', sizeBytes: 1024 ** 2, source: { type: 'blank' }, settle: false },
      'disk-2',
    );
    await fixture.until('it is there', async () => (await site.blockStorages.observe(disk)).type === 'present');
    await agent.stop();
    await fixture.until('it is unknown', async () => (await site.blockStorages.observe(disk)).type === 'unknown');
    agent = await start();
    await fixture.until('it is there', async () => (await site.blockStorages.observe(disk)).type === 'present');
  });
});
