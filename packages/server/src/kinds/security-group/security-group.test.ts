import { nic, type SecurityGroupRuleSpec, securityGroup, securityGroupRule } from '@virt8ra/contract';
import type { SecurityGroupRealizationSpec } from '@virt8ra/driver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { StoredResource } from '../../resources/stored-resource.js';
import { type KindWorld, putNetwork, putNic, putSubnet, startKindWorld, within } from '../../testing/kind-world.js';
import { ensureNetworkOnHost } from '../network/index.js';
import { ensureGroupOnHost, releaseGroupsOnHost } from './index.js';

let world: KindWorld;
let lan: StoredResource;
beforeAll(async () => {
  world = await startKindWorld();
  lan = await putNetwork(world, 'lan', { ipv4: '10.0.0.0/16', ipv6: 'fd00::/48' });
  await putSubnet(world, 'lan', 'a', { ipv4: '10.0.1.0/24', ipv6: 'fd00:0:0:1::/64' });
  await putSubnet(world, 'lan', 'b', { ipv4: '10.0.2.0/24' });
}, 60_000);
afterAll(async () => await world?.stop());

const at = (name: string) => ({ ...within, name });
const putGroup = async (name: string, rules: readonly SecurityGroupRuleSpec[], ruleRefs: readonly string[] = []): Promise<StoredResource> =>
  await world.put(securityGroup, at(name), { rules, ...(ruleRefs.length === 0 ? {} : { ruleRefs }) });
const card = async (name: string, groups: readonly string[], subnetRef = 'networks/lan/subnets/a') =>
  await putNic(world, name, subnetRef, ['0.0.0.0'], { securityGroupRefs: groups.map((group) => `security-groups/${group}`) });
/** Makes a group on a host the way an instance does. */
const ensure = async (group: StoredResource, host: string, network = lan) => {
  const on = await ensureNetworkOnHost(world.context, network, 'edge', host);
  if ('waiting' in on) throw new Error(on.waiting);
  return await ensureGroupOnHost(world.context, group.uid, { site: 'edge', host, network: network.uid }, on.handle);
};
const on = async (group: StoredResource, host: string, network = lan): Promise<SecurityGroupRealizationSpec | undefined> => {
  const rows = await world.store.ledger.ofResource(group.uid);
  const row = rows.find((each) => each.host === host && each.facts['network'] === network.uid);
  return row === undefined ? undefined : world.site.securityGroups.get(row.key);
};

describe('a security group rule', () => {
  const cases: readonly (readonly [string, object, string, RegExp])[] = [
    ['an empty list of ports', { protocol: 'tcp', ports: {} }, '/spec/ports', /names no port/],
    ['half a range of ports', { protocol: 'tcp', ports: { from: 80 } }, '/spec/ports', /needs from and to/],
    ['a range that goes backwards', { protocol: 'tcp', ports: { from: 90, to: 80 } }, '/spec/ports', /are none/],
    ['ports of no protocol', { ports: { list: [80] } }, '/spec/ports', /name one of them as protocol/],
    ['ports of ICMP', { protocol: 'icmp', ports: { list: [80] } }, '/spec/ports', /name one of them/],
    ['types of ICMP for TCP', { protocol: 'tcp', icmp: { type: 8, code: 0 } }, '/spec/icmp', /protocol icmp/],
    ['a range with bits beyond its prefix', { sourceRef: ['10.0.0.1/24'] }, '/spec/sourceRef/0', /begins inside/],
    ['an address of the other version', { version: 'IPv4', sourceRef: ['fd00::1'] }, '/spec/sourceRef/0', /no IPv4 address/],
    ['a group that is not there', { sourceRef: ['security-groups/none'] }, '/spec/sourceRef/0', /does not exist/],
    ['something that is no end of a connection', { sourceRef: ['skus/N1'] }, '/spec/sourceRef/0', /cannot be at the other end/],
    ['a word', { sourceRef: ['anybody'] }, '/spec/sourceRef/0', /cannot be at the other end/],
  ];
  it.each(cases)('is refused with %s, and nothing is stored', async (_title, part, pointer, message) => {
    await expect(world.put(securityGroupRule, at('refused'), { direction: 'ingress', ...part })).rejects.toMatchObject({
      kind: 'validation',
      message: expect.stringMatching(message),
      sources: [{ pointer }],
    });
    expect(await world.store.get(securityGroupRule, at('refused'))).toBeUndefined();
  });

  it('cannot tell types of ICMPv6, which SECA has no numbers for', async () => {
    const spec = { direction: 'ingress', protocol: 'icmp', version: 'IPv6', icmp: { type: 8, code: 0 } };
    await expect(world.put(securityGroupRule, at('refused'), spec)).rejects.toMatchObject({ kind: 'unsupported' });
  });

  it('stays while a group shares it', async () => {
    await world.put(securityGroupRule, at('shared'), { direction: 'egress' });
    await putGroup('sharing', [], ['security-group-rules/shared']);
    await expect(world.remove(securityGroupRule, at('shared'))).rejects.toThrow(/used by security-group sharing; change or delete/);
    await putGroup('sharing', []);
    await world.remove(securityGroupRule, at('shared'));
    expect(await world.store.get(securityGroupRule, at('shared'))).toBeUndefined();
  });
});

describe('a security group', () => {
  it('is nowhere until a NIC of it arrives at a host, and is active all the same', async () => {
    const group = await putGroup('idle', [{ direction: 'ingress' }]);
    expect(group.state).toBe('active');
    expect(await world.reconcile(group)).toEqual({ done: true });
    expect(await world.store.ledger.ofResource(group.uid)).toEqual([]);
  });

  it('may name itself, and has its members wherever they are in the network', async () => {
    const group = await putGroup('peers', [
      { direction: 'ingress', protocol: 'tcp', ports: { list: [80] }, sourceRef: ['security-groups/peers'] },
    ]);
    const [one, two] = [await card('peers-0', ['peers']), await card('peers-1', ['peers'])];
    const occupant = await world.occupy('peers-vm', 'h1', [one.uid]);
    await ensure(group, 'h1');
    expect(await on(group, 'h1')).toMatchObject({
      host: 'h1',
      members: [...one.status.addresses, ...two.status.addresses],
      rules: [{ direction: 'ingress', protocol: 'tcp', ports: [{ from: 80, to: 80 }], peers: { ranges: [], groups: ['self'] } }],
    });
    await world.vacate(occupant);
  });

  it('is told to every host that has it, once each, when it or one of its rules changes', async () => {
    await world.put(securityGroupRule, at('web-in'), { direction: 'ingress', protocol: 'tcp', ports: { list: [80] } });
    const group = await putGroup('web', [], ['security-group-rules/web-in']);
    const cards = [await card('web-0', ['web']), await card('web-1', ['web'])];
    const occupants = [
      await world.occupy('web-vm0', 'h1', [cards[0]?.uid ?? lan.uid]),
      await world.occupy('web-vm1', 'h2', [cards[1]?.uid ?? lan.uid]),
    ];
    for (const host of ['h1', 'h2']) await ensure(group, host);
    const before = world.site.changes;

    await world.put(securityGroupRule, at('web-in'), { direction: 'ingress', protocol: 'tcp', ports: { list: [80, 443] } });
    expect(await world.reconcile(group)).toMatchObject({ reason: 'in use' });

    for (const host of ['h1', 'h2'])
      expect(await on(group, host)).toMatchObject({
        rules: [
          {
            ports: [
              { from: 80, to: 80 },
              { from: 443, to: 443 },
            ],
          },
        ],
      });
    expect(world.site.changes - before).toBe(2);
    await world.reconcile(group);
    expect(world.site.changes - before).toBe(2);
    for (const occupant of occupants) await world.vacate(occupant);
  });

  it('says that it is being changed until every host has it, and who is missing', async () => {
    const group = await putGroup('slow', [{ direction: 'ingress' }]);
    const { uid } = await card('slow-0', ['slow']);
    const occupant = await world.occupy('slow-vm', 'h3', [uid]);
    await ensure(group, 'h3');
    world.site.reachable = false;
    const changed = await putGroup('slow', [{ direction: 'egress' }]);
    expect(changed.state).toBe('updating');
    await world.reconcile(group);
    const waiting = await world.read(securityGroup, at('slow'));
    expect(waiting.conditions[0]).toMatchObject({ state: 'updating', message: expect.stringContaining('h3') });
    world.site.reachable = true;
    await world.reconcile(group);
    expect((await world.read(securityGroup, at('slow'))).state).toBe('active');
    expect(await on(group, 'h3')).toMatchObject({ rules: [{ direction: 'egress' }] });
    await world.vacate(occupant);
  });

  it('brings the groups that its rules name to the host, with their members and without their rules', async () => {
    const clients = await putGroup('clients', [{ direction: 'egress' }]);
    const servers = await putGroup('servers', [
      { direction: 'ingress', sourceRef: ['security-groups/clients', 'networks/lan/subnets/b', '192.0.2.7'] },
    ]);
    const client = await card('clients-0', ['clients']);
    const { uid } = await card('servers-0', ['servers']);
    const occupant = await world.occupy('servers-vm', 'h4', [uid]);
    await ensure(servers, 'h4');
    expect(await on(clients, 'h4')).toMatchObject({ members: client.status.addresses, rules: [] });
    const [row] = await world.store.ledger.ofResource(clients.uid);
    expect(await on(servers, 'h4')).toMatchObject({
      rules: [{ peers: { ranges: ['10.0.2.0/24', '192.0.2.7/32'], groups: [{ value: row?.key }] } }],
    });

    // A client that comes later is a member everywhere, though nothing of the servers' has changed.
    const later = await card('clients-1', ['clients']);
    await world.reconcile(clients);
    expect((await on(clients, 'h4'))?.members).toEqual([...client.status.addresses, ...later.status.addresses]);
    await world.remove(nic, at('clients-1'));
    await world.reconcile(clients);
    expect((await on(clients, 'h4'))?.members).toEqual(client.status.addresses);

    // Once a client runs there too, its own rules count.
    const neighbour = await world.occupy('clients-vm', 'h4', [client.uid]);
    await ensure(clients, 'h4');
    expect(await on(clients, 'h4')).toMatchObject({ rules: [{ direction: 'egress' }] });
    await world.vacate(neighbour);
    await releaseGroupsOnHost(world.context, lan.uid, 'h4');
    await world.reconcile(clients);
    expect(await on(clients, 'h4')).toMatchObject({ rules: [] });

    await world.vacate(occupant);
    await releaseGroupsOnHost(world.context, lan.uid, 'h4');
    await releaseGroupsOnHost(world.context, lan.uid, 'h4');
    expect(await world.store.ledger.ofResource(clients.uid)).toEqual([]);
    expect(await world.store.ledger.ofResource(servers.uid)).toEqual([]);
  });

  it('two that name each other are made on one host', async () => {
    const left = await putGroup('left', []);
    const right = await putGroup('right', [{ direction: 'ingress', sourceRef: ['security-groups/left'] }]);
    await putGroup('left', [{ direction: 'ingress', sourceRef: ['security-groups/right'] }]);
    const { uid } = await card('both-0', ['left', 'right']);
    const occupant = await world.occupy('both-vm', 'h5', [uid]);
    await ensure(left, 'h5');
    await ensure(right, 'h5');
    for (const group of [left, right]) expect((await on(group, 'h5'))?.rules).toHaveLength(1);
    await world.vacate(occupant);
  });

  it('has only those members that are in the same network', async () => {
    const other = await putNetwork(world, 'other', { ipv4: '10.0.0.0/16' });
    await putSubnet(world, 'other', 'a', { ipv4: '10.0.1.0/24' });
    const group = await putGroup('split', [{ direction: 'ingress', sourceRef: ['security-groups/split', 'networks/other/subnets/a'] }]);
    const here = await card('split-0', ['split']);
    const there = await card('split-1', ['split'], 'networks/other/subnets/a');
    const occupant = await world.occupy('split-vm', 'h6', [here.uid, there.uid]);
    await ensure(group, 'h6');
    await ensure(group, 'h6', other);
    expect(await on(group, 'h6')).toMatchObject({ members: here.status.addresses, rules: [{ peers: { ranges: [] } }] });
    expect(await on(group, 'h6', other)).toMatchObject({
      members: there.status.addresses,
      rules: [{ peers: { ranges: ['10.0.1.0/24'] } }],
    });
    await world.vacate(occupant);
  });

  it('finds what a lost reply left behind', async () => {
    const group = await putGroup('lost', []);
    const { uid } = await card('lost-0', ['lost']);
    const occupant = await world.occupy('lost-vm', 'h7', [uid]);
    await ensureNetworkOnHost(world.context, lan, 'edge', 'h7');
    const before = world.site.securityGroups.size;
    world.site.loseReply = true;
    await expect(ensure(group, 'h7')).rejects.toMatchObject({ kind: 'unknown-outcome' });
    expect(await ensure(group, 'h7')).toMatchObject({ ready: true });
    expect(world.site.securityGroups.size).toBe(before + 1);
    await world.vacate(occupant);
  });

  it('stays while it is used, naming the first of its users, and goes when its hosts have let it go', async () => {
    const group = await putGroup('used', [{ direction: 'ingress' }]);
    const cards = await Promise.all(Array.from({ length: 4 }, async (_, index) => await card(`used-${index}`, ['used'])));
    await putGroup('naming', [{ direction: 'ingress', sourceRef: ['security-groups/used'] }]);
    await expect(world.remove(securityGroup, at('used'))).rejects.toMatchObject({
      kind: 'conflict',
      message: expect.stringMatching(/used by nic used-0, nic used-1, nic used-2 and 2 more; take them out/),
    });
    const occupant = await world.occupy('used-vm', 'h8', [cards[0]?.uid ?? lan.uid]);
    await ensure(group, 'h8');
    await world.vacate(occupant);
    for (const index of cards.keys()) await world.remove(nic, at(`used-${index}`));
    await putGroup('naming', []);
    await world.remove(securityGroup, at('used'));
    world.site.reachable = false;
    await world.reconcile(group);
    expect((await world.read(securityGroup, at('used'))).conditions[0]).toMatchObject({
      state: 'deleting',
      message: expect.stringContaining('h8'),
    });
    world.site.reachable = true;
    expect(await world.reconcile(group)).toEqual({ gone: true });
    expect(await world.store.get(securityGroup, at('used'))).toBeUndefined();
  });

  it('has no more rules than SECA lets it tell of', async () => {
    const rules = Array.from({ length: 300 }, () => ({ direction: 'ingress' as const }));
    const refs = Array.from({ length: 201 }, () => 'security-group-rules/x');
    await expect(putGroup('large', rules, refs)).rejects.toMatchObject({ kind: 'validation', sources: [{ pointer: '/spec/ruleRefs' }] });
  });

  it('is not told twice of one NIC, nor of a group that is not there', async () => {
    await putGroup('twice', []);
    await expect(card('twice-0', ['twice', 'twice'])).rejects.toMatchObject({ sources: [{ pointer: '/spec/securityGroupRefs/1' }] });
    await expect(card('twice-0', ['nothing'])).rejects.toMatchObject({
      kind: 'validation',
      sources: [{ pointer: '/spec/securityGroupRefs/0' }],
    });
    expect(await world.store.get(nic, at('twice-0'))).toBeUndefined();
  });
});
