import { Problem } from '@virt8ra/contract';
import type {
  BackupRealizationSpec,
  BackupRealizationStatus,
  BlockStorageRealizationSpec,
  BlockStorageRealizationStatus,
  Handle,
  InstanceRealizationSpec,
  InstanceRealizationStatus,
  NetworkRealizationSpec,
  NetworkRealizationStatus,
  SecurityGroupRealizationSpec,
  SecurityGroupRealizationStatus,
  SnapshotRealizationSpec,
  SnapshotRealizationStatus,
} from '@virt8ra/driver';
import type { ConformanceWorld } from '@virt8ra/driver/testing';
import { conformance, facetCase } from '@virt8ra/driver/testing';
import { type AgentFleet, createAgentDriver } from '@virt8ra/drivers';
import { hasPostgres, startTestPostgres } from '@virt8ra/engine/testing';
import { fleetMigrations, startFleetFixture } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, it } from 'vitest';

/** The agent driver over the real fleet: real PostgreSQL, real TLS, a simulated host behind it. */
async function openAgentWorld(): Promise<ConformanceWorld> {
  const postgres = await startTestPostgres();
  const database = await postgres.createDatabase(fleetMigrations);
  const fixture = await startFleetFixture(database, { silenceSeconds: 1 });
  const agent = await fixture.enrol('alpha', 'here');
  const { fleet } = fixture;
  let loseReply = false;
  const port: AgentFleet = {
    ...fleet.port,
    async declare(site, object, existing) {
      await fleet.port.declare(site, object, existing);
      if (!loseReply) return;
      loseReply = false;
      throw new Problem('unknown-outcome', 'the database connection broke after the commit');
    },
  };
  const driver = createAgentDriver(port);
  const connect = async () => await driver.connect(driver.parse({ site: 'here' }));
  const connection = await connect();
  const { blockStorages, networks, securityGroups } = connection;
  if (blockStorages === undefined || networks === undefined || securityGroups === undefined)
    throw new Error('the agent driver has lost a facet');
  const volume = await blockStorages.create(blank, 'boot');
  const network = await networks.create(plainNetwork, 'net');
  const group = groupIn(network);
  const instance = instanceOn(volume, network, await securityGroups.create(group, 'group'));
  return {
    connection,
    reconnect: connect,
    cases: [
      facetCase<BlockStorageRealizationSpec, BlockStorageRealizationStatus>({
        facet: 'blockStorages',
        open: (of) => of.blockStorages,
        spec: blank,
        changed: { ...blank, sizeBytes: 2_000_000 },
        refused: [
          { title: 'a block storage without host', spec: withoutHost },
          { title: 'a block storage on a host of nowhere', spec: { ...blank, host: 'nowhere' } },
          { title: 'a block storage of no size', spec: { ...blank, sizeBytes: 0 } },
        ],
      }),
      facetCase<NetworkRealizationSpec, NetworkRealizationStatus>({
        facet: 'networks',
        open: (of) => of.networks,
        spec: plainNetwork,
        changed: {
          ...plainNetwork,
          gateways: ['10.0.0.1/24', '10.0.1.1/24'],
          routes: [{ source: '10.0.1.0/24', destination: '0.0.0.0/0', via: { type: 'internet' } }],
          names: { domain: 'net.internal', hosts: [{ name: 'web', addresses: ['10.0.0.2'] }] },
        },
        refused: [
          { title: 'a network with an absurd mtu', spec: { ...plainNetwork, mtu: 100_000 } },
          {
            title: 'a network with more routes than a host takes',
            spec: { ...plainNetwork, routes: Array.from({ length: 1001 }, () => route) },
          },
        ],
      }),
      facetCase<SecurityGroupRealizationSpec, SecurityGroupRealizationStatus>({
        facet: 'securityGroups',
        open: (of) => of.securityGroups,
        spec: group,
        changed: {
          ...group,
          rules: [{ direction: 'ingress', peers: { ranges: [], groups: ['self'] } }],
          members: ['10.0.0.2', '10.0.0.3'],
        },
        refused: [
          { title: 'a security group in a network on another host', spec: { ...group, host: 'beta' } },
          {
            title: 'a port that there is not',
            spec: { ...group, rules: [{ direction: 'ingress', protocol: 'tcp', ports: [{ from: 0, to: 1 }] }] },
          },
        ],
      }),
      facetCase<BackupRealizationSpec, BackupRealizationStatus>({
        facet: 'backups',
        open: (of) => of.backups,
        spec: { host: 'alpha', volumes: [volume] },
        refused: [
          { title: 'a backup of nothing', spec: { host: 'alpha', volumes: [] } },
          { title: 'a backup without host', spec: { volumes: [volume] } },
          { title: 'a backup of a block storage on another host', spec: { host: 'beta', volumes: [volume] } },
        ],
      }),
      facetCase<SnapshotRealizationSpec, SnapshotRealizationStatus>({
        facet: 'snapshots',
        open: (of) => of.snapshots,
        spec: { host: 'alpha', volumes: [volume], reverts: 0 },
        refused: [
          { title: 'a snapshot of nothing', spec: { host: 'alpha', volumes: [], reverts: 0 } },
          { title: 'a snapshot without host', spec: { volumes: [volume], reverts: 0 } },
          { title: 'a snapshot of a block storage on another host', spec: { host: 'beta', volumes: [volume], reverts: 0 } },
        ],
      }),
      facetCase<InstanceRealizationSpec, InstanceRealizationStatus>({
        facet: 'instances',
        open: (of) => of.instances,
        spec: instance,
        changed: { ...instance, power: 'off' },
        refused: [
          { title: 'an instance without boot volume', spec: { ...instance, volumes: [] } },
          { title: 'an instance with too many block storages', spec: { ...instance, volumes: Array.from({ length: 66 }, () => volume) } },
          { title: 'an instance with 61 vCPU', spec: { ...instance, vCPU: 61 } },
          { title: 'an instance whose volume is on another host', spec: { ...instance, host: 'beta' } },
        ],
      }),
    ],
    async cutOff() {
      agent.unplug();
      await fixture.until('the host is silent', async () => {
        const view = await fleet.port.look('here', { host: 'alpha', type: 'volume', key: 'boot' });
        return view.silence !== undefined;
      });
    },
    async restore() {
      await agent.plug();
      await fixture.until('the host is heard', async () => {
        const view = await fleet.port.look('here', { host: 'alpha', type: 'volume', key: 'boot' });
        return view.silence === undefined;
      });
    },
    loseNextReply() {
      loseReply = true;
    },
    secrets: ['the-user-data-password', 'the-ssh-key'],
    async close() {
      await connection.close();
      await fixture.stop();
      await postgres.stop();
    },
  };
}

const blank: BlockStorageRealizationSpec = { host: 'alpha', sizeBytes: 1_000_000, source: { type: 'blank' }, settle: false };
const { host: _, ...withoutHost } = blank;
const plainNetwork: NetworkRealizationSpec = { host: 'alpha', vni: 7, mtu: 1400, gateways: ['10.0.0.1/24'] };

const route = { source: '10.0.0.0/24', destination: '0.0.0.0/0', via: { type: 'internet' } } as const;

function groupIn(network: Handle): SecurityGroupRealizationSpec {
  const rules = [
    { direction: 'ingress', protocol: 'tcp', ports: [{ from: 80, to: 80 }], peers: { ranges: ['192.0.2.0/24'], groups: [] } },
  ] as const;
  return { host: 'alpha', network, rules, members: ['10.0.0.2'] };
}

function instanceOn(volume: Handle, network: Handle, group: Handle): InstanceRealizationSpec {
  return {
    host: 'alpha',
    instance: 'res_conformance',
    name: 'web',
    architecture: 'amd64',
    firmware: 'BIOS',
    vCPU: 1,
    memoryMiB: 128,
    power: 'on',
    restarts: 0,
    volumes: [volume],
    nics: [{ key: 'nic', network, mac: '52:54:00:00:00:01', addresses: ['10.0.0.2/24'], nameservers: [], securityGroups: [group] }],
    seed: { instanceId: 'i-1', hostname: 'web', userData: 'the-user-data-password', sshKeys: ['the-ssh-key'] },
    exposedPorts: [80],
    permit: { epoch: 1, holder: 'alpha' },
  };
}

if ((await hasPostgres('debian')) || (await hasPostgres('embedded'))) {
  conformance('agent', openAgentWorld, {
    facets: ['blockStorages', 'networks', 'securityGroups', 'instances', 'backups', 'snapshots'],
    runner: { describe, it, beforeAll: (body) => beforeAll(body, 60_000), afterAll: (body) => afterAll(body, 60_000) },
  });
} else {
  describe('driver agent', () => {
    it.skip('PostgreSQL is not installed', () => undefined);
  });
}
