import type { DesiredInstance, DesiredTransfer, Surrender } from '@virt8ra/contract';
import { agentDnsName } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type FleetFixture, startFleetFixture } from './fleet-fixture.js';
import { blankVolume, plainInstance, plainNetwork } from './objects.js';
import type { SimulatedAgent } from './simulated-agent.js';
import { postgresIsThere, useFleetDatabase } from './test-database.js';

describe.skipIf(!(await postgresIsThere()))('a simulated agent', () => {
  const freshDatabase = useFleetDatabase();
  let fixture: FleetFixture;
  let alpha: SimulatedAgent;
  let beta: SimulatedAgent;

  beforeEach(async () => {
    fixture = await startFleetFixture(await freshDatabase());
    alpha = await fixture.enrol('alpha', 'here');
    beta = await fixture.enrol('beta', 'there');
  });
  afterEach(async () => {
    await fixture.stop();
    // Whatever happened in a test, no two hosts ran one instance.
    expect(fixture.hosts.violations).toEqual([]);
  });

  const siteOf = (host: string): string => (host === 'alpha' ? 'here' : 'there');
  const wantInstance = async (host: string, change: Partial<DesiredInstance> = {}): Promise<void> => {
    const desired = { ...plainInstance(`i-${host}`, host, `v-${host}`), instance: 'res_i1', ...change };
    await fixture.fleet.port.declare(siteOf(host), { host, type: 'instance', key: desired.key, desired }, 'replace');
  };
  const wantVolume = async (host: string, change: Parameters<typeof blankVolume>[1] = {}): Promise<void> =>
    await fixture.fleet.port.declare(
      siteOf(host),
      { host, type: 'volume', key: `v-${host}`, desired: blankVolume(`v-${host}`, change) },
      'replace',
    );
  const wantTransfer = async (host: string, desired: DesiredTransfer): Promise<void> =>
    await fixture.fleet.port.declare(siteOf(host), { host, type: 'transfer', key: desired.id, desired }, 'replace');
  const running = async (agent: SimulatedAgent) =>
    await agent.until('it runs', () => agent.observed('instance', `i-${agent.identity.host}`)?.state === 'running');
  const surrendered = async (agent: SimulatedAgent, epoch: number): Promise<Surrender> =>
    await agent.until('the permit is given up', () => {
      const surrender = agent.observed('instance', `i-${agent.identity.host}`)?.surrender;
      return surrender?.epoch === epoch && surrender;
    });

  it('runs an instance on its network, and stops, starts and restarts it', async () => {
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'network', key: 'n1', desired: plainNetwork('n1') }, 'keep');
    await wantVolume('alpha');
    const nics = [{ key: 'nic', networkKey: 'n1', mac: '52:54:00:00:00:01', addresses: ['10.0.0.2/24'], nameservers: [] }];
    await wantInstance('alpha', { nics });
    await running(alpha);
    expect(alpha.observed('instance', 'i-alpha')).toMatchObject({
      permitEpoch: 1,
      accelerator: 'tcg',
      access: [{ port: 80, address: '127.0.0.1', hostPort: 40_080 }],
    });
    await wantInstance('alpha', { nics, restarts: 1 });
    await alpha.until(
      'it restarted',
      () => alpha.observed('instance', 'i-alpha')?.restarts === 1 && alpha.observed('instance', 'i-alpha')?.state === 'running',
    );
    await wantInstance('alpha', { nics, restarts: 1, power: 'off' });
    await alpha.until('it stopped', () => alpha.observed('instance', 'i-alpha')?.state === 'stopped');
    expect(fixture.hosts.runningOn('res_i1')).toEqual([]);
    await wantInstance('alpha', { nics, restarts: 1 });
    await running(alpha);
  });

  it.each([
    { title: 'no permit', permit: undefined, lacks: /^a run permit$/ },
    { title: 'the permit of another host', permit: { epoch: 1, holder: 'beta' }, lacks: /belongs to beta/ },
    { title: 'a later epoch without evidence', permit: { epoch: 2, holder: 'alpha' }, lacks: /^evidence that epoch 1/ },
  ])('does not run an instance with $title', async ({ permit, lacks }) => {
    await wantVolume('alpha');
    const { permit: _, ...without } = plainInstance('i-alpha', 'alpha', 'v-alpha');
    const desired = permit === undefined ? without : { ...without, permit };
    await fixture.fleet.port.declare('here', { host: 'alpha', type: 'instance', key: 'i-alpha', desired }, 'replace');
    await alpha.until('it says why', () => lacks.test(alpha.observed('instance', 'i-alpha')?.waitingFor ?? ''));
    expect(fixture.hosts.runningOn(desired.instance)).toEqual([]);
  });

  it('gives up its permit with a signature that proves it, and never runs that epoch again', async () => {
    await wantVolume('alpha');
    await wantInstance('alpha');
    await running(alpha);
    await wantInstance('alpha', { surrenderEpoch: 1 });
    const surrender = await surrendered(alpha, 1);
    expect(fixture.hosts.runningOn('res_i1')).toEqual([]);
    expect(surrender).toMatchObject({ statement: 'released', instance: 'res_i1', host: 'alpha' });
    expect(fixture.fleet.surrenderFault(surrender, 'res_i1', 1)).toBeUndefined();
    expect(fixture.fleet.surrenderFault(surrender, 'res_i2', 1)).toMatch(/another instance/);
    expect(fixture.fleet.surrenderFault(surrender, 'res_i1', 2)).toMatch(/epoch/);
    expect(fixture.fleet.surrenderFault({ ...surrender, statement: 'refused' }, 'res_i1', 1)).toMatch(/signature/);
    expect(fixture.fleet.surrenderFault({ ...surrender, certificate: beta.identity.certificate }, 'res_i1', 1)).toMatch(/does not name/);
    expect(fixture.fleet.surrenderFault({ ...surrender, certificate: 'none' }, 'res_i1', 1)).toMatch(/cannot be read/);
    await wantInstance('alpha');
    await alpha.until('it says why not', () => alpha.observed('instance', 'i-alpha')?.waitingFor?.includes('was given up'));
    // Elsewhere the next epoch runs with that evidence.
    await wantVolume('beta');
    await wantInstance('beta', { permit: { epoch: 2, holder: 'beta', evidence: surrender } });
    await running(beta);
  });

  it('keeps guests running while its agent is dead, and starts them again after a reboot', async () => {
    await wantVolume('alpha');
    await wantInstance('alpha');
    await running(alpha);
    alpha.kill();
    expect(fixture.hosts.runningOn('res_i1')).toEqual(['alpha']);
    await fixture.until('the link is down', async () => (await fixture.fleet.hostStatus(['alpha']))[0]?.connected === false);
    await wantInstance('alpha', { power: 'off' });
    await alpha.restart();
    await alpha.until('it stopped', () => alpha.observed('instance', 'i-alpha')?.state === 'stopped');
    await wantInstance('alpha');
    await running(alpha);
    await alpha.reboot();
    await running(alpha);
  });

  it.each(['warm', 'cold'] as const)('moves an instance to another host: %s', async (mode) => {
    await wantVolume('alpha');
    await wantInstance('alpha');
    await running(alpha);
    await startTransfer('copy', mode);
    await alpha.until('it has converged', () => alpha.observed('transfer', 't1')?.state === 'converged');
    expect(fixture.hosts.runningOn('res_i1')).toEqual(mode === 'warm' ? ['alpha'] : []);
    await wantTransfer('alpha', send('finish', mode));
    const sent = await alpha.until(
      'it has finished',
      () => alpha.observed('transfer', 't1')?.state === 'finished' && alpha.observed('transfer', 't1'),
    );
    const received = await beta.until(
      'it has arrived',
      () => beta.observed('transfer', 't1')?.state === 'finished' && beta.observed('transfer', 't1'),
    );
    expect(received.roots).toEqual(sent.roots);
    expect(sent.pauseMs).toBeGreaterThanOrEqual(0);
    expect(sent.bytes).toBe(received.bytes);
    expect(beta.observed('volume', 'v-beta')?.state).toBe('arrived');
    const evidence = await surrendered(alpha, 1);
    await wantInstance('beta', { permit: { epoch: 2, holder: 'beta', evidence } });
    await running(beta);
    await wantVolume('beta', { source: { type: 'incoming', transferId: 't1' }, settle: true, digestRequest: 'verify' });
    await beta.until('it has settled', () => beta.observed('volume', 'v-beta')?.state === 'ready');
    await beta.until('it is verified', () => beta.observed('volume', 'v-beta')?.digest?.request === 'verify');
    expect(beta.observed('volume', 'v-beta')?.digest?.root).toBe(sent.roots?.[0]);
    await fixture.until('progress was told', () => fixture.progress.some(({ transferId }) => transferId === 't1'));
  });

  it('goes on with a transfer after either agent was killed', async () => {
    await wantVolume('alpha');
    await wantInstance('alpha');
    await running(alpha);
    await startTransfer('copy', 'warm');
    await beta.until('something arrived', () => (beta.observed('transfer', 't1')?.bytes ?? 0) > 0);
    beta.kill();
    alpha.kill();
    await alpha.restart();
    await beta.restart();
    await alpha.until('it has converged', () => alpha.observed('transfer', 't1')?.state === 'converged');
  });

  it('lets the guest run on when a transfer is aborted', async () => {
    await wantVolume('alpha');
    await wantInstance('alpha');
    await running(alpha);
    await startTransfer('copy', 'cold');
    await alpha.until('it has converged', () => alpha.observed('transfer', 't1')?.state === 'converged');
    await wantTransfer('alpha', send('abort', 'cold'));
    await running(alpha);
    expect(alpha.observed('transfer', 't1')?.state).toBe('aborted');
  });

  it('shows what it spoiled', async () => {
    await wantVolume('alpha');
    await wantInstance('alpha');
    await running(alpha);
    beta.corrupt('t1');
    await startTransfer('finish', 'cold');
    await beta.until('it has arrived', () => beta.observed('transfer', 't1')?.state === 'finished');
    expect(beta.observed('transfer', 't1')?.roots).not.toEqual(alpha.observed('transfer', 't1')?.roots);
  });

  async function startTransfer(goal: 'copy' | 'finish', mode: 'warm' | 'cold'): Promise<void> {
    await wantVolume('beta', { source: { type: 'incoming', transferId: 't1' } });
    const disks = [{ volumeKey: 'v-beta', sizeBytes: 4_000_000 }];
    await wantTransfer('beta', { id: 't1', role: 'receive', disks, peerName: agentDnsName('alpha'), goal: 'receive' });
    await beta.until('it listens', () => beta.observed('transfer', 't1')?.port !== undefined);
    await wantTransfer('alpha', send(goal, mode));
  }

  function send(goal: 'copy' | 'finish' | 'abort', mode: 'warm' | 'cold'): DesiredTransfer {
    const { address = '', port = 1 } = beta.observed('transfer', 't1') ?? {};
    const disks = [{ volumeKey: 'v-alpha', sizeBytes: 4_000_000 }];
    return {
      id: 't1',
      role: 'send',
      mode,
      instanceKey: 'i-alpha',
      disks,
      peer: { name: agentDnsName('beta'), address, port },
      minPasses: 2,
      goal,
      epoch: 1,
    };
  }
});
