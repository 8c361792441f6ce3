import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { DesiredInstance } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { probeNetworking } from './probe.js';

const guestFolder = fileURLToPath(new URL('../../../../.cache/guest', import.meta.url));
const guestBytes = 64 * 1024 * 1024;
const bridging = process.getuid?.() === 0 ? await probeNetworking('twotenants') : { usable: false, reason: 'the rights of root' };
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-img', join(guestFolder, 'guest.json')].filter((path) => !existsSync(path)),
  ...(bridging.usable ? [] : [bridging.reason]),
];
if (lacks.length > 0) process.stderr.write(`skipped: ${lacks.join(', ')} missing\n`);

const tenants = ['red', 'blue'] as const;
type Tenant = (typeof tenants)[number];
const [asks, answers] = ['10.215.3.10', '10.215.3.11'];
const patience = { timeout: 90_000, interval: 200 };

/** Runs in a guest: keeps what its neighbour says on a page of its own. A neighbour may go away in the middle of an answer. */
const asking = `#!/bin/sh
while :; do
  printf 'GET /cgi-bin/info HTTP/1.0\\r\\n\\r\\n' | timeout 5 nc ${answers} 80 | grep hostname >/www/new || echo '{}' >/www/new
  mv /www/new /www/seen
  usleep 300000
done
`;

describe.skipIf(lacks.length > 0)('two tenants with one prefix on one host', { timeout: 240_000 }, () => {
  let plane: FakeControlPlane;
  let agent: AgentProcess;

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    agent = new AgentProcess(plane, 'alpha', await testFolder(), ['--network', 'bridge']);
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- agent log\n${agent.log}\n--- console\n${agent.serial('red-asks')}\n`);
    plane.want('alpha', { networks: [], volumes: [], instances: [] });
    await plane.until('the networks are gone', () => plane.view('alpha').networks.size === 0).catch(() => {});
    await agent.destroy();
    await plane.stop();
  });

  const guest = (tenant: Tenant, role: 'asks' | 'answers'): DesiredInstance => {
    const [name, address] = [`${tenant}-${role}`, role === 'asks' ? asks : answers];
    const nic = {
      key: `nic-${name}`,
      networkKey: tenant,
      // They are alike in this, too.
      mac: role === 'asks' ? '52:54:00:21:53:10' : '52:54:00:21:53:11',
      addresses: [`${address}/24`],
      gateway4: '10.215.3.1',
      nameservers: [],
    };
    const seed = { instanceId: `iid-${name}`, hostname: name, sshKeys: [], ...(role === 'asks' ? { userData: asking } : {}) };
    const change = { memoryMiB: 128, nics: [nic], seed, exposedPorts: role === 'asks' ? [80] : [] };
    return smallInstance(name, `v-${name}`, { epoch: 1, holder: 'alpha' }, change);
  };
  const want = (instances: readonly DesiredInstance[]) => {
    const { image } = JSON.parse(readFileSync(join(guestFolder, 'guest.json'), 'utf8')) as { image: string };
    const made = plane.addArtifact(readFileSync(join(guestFolder, image)));
    plane.want('alpha', {
      networks: tenants.map((key, index) => ({ key, vni: 9301 + index, mtu: 1400, gateways: ['10.215.3.1/24'] })),
      volumes: instances.map(({ key }) => ({
        ...imageVolume(`v-${key}`, made, guestBytes),
        source: { type: 'image', ...made, format: 'qcow2' },
      })),
      instances: [...instances],
    });
  };
  /** Name of the neighbour that a tenant's guest reaches; undefined: nobody. */
  const seenBy = async (tenant: Tenant): Promise<string | undefined> => {
    const [way] = plane.view('alpha').instances.get(`${tenant}-asks`)?.access ?? [];
    if (way === undefined) throw new Error(`${tenant}'s guest has no access yet`);
    const answer = await fetch(`http://${way.address}:${way.hostPort}/seen`, { signal: AbortSignal.timeout(2_000) });
    return ((await answer.json()) as { hostname?: string }).hostname;
  };

  it('keeps them apart: each reaches its own neighbour, and nobody once that is gone', async () => {
    const own = tenants.map((tenant) => guest(tenant, 'answers'));
    const askers = tenants.map((tenant) => guest(tenant, 'asks'));
    want([...own, ...askers]);
    agent.start();
    for (const tenant of tenants) await expect.poll(() => seenBy(tenant), patience).toBe(`${tenant}-answers`);

    want([...own.slice(1), ...askers]);
    await plane.until("red's neighbour is gone", () => !plane.view('alpha').instances.has('red-answers'), 60_000);
    await expect.poll(() => seenBy('red'), patience).toBeUndefined();
    expect(await seenBy('blue')).toBe('blue-answers');
    expect(plane.faults).toEqual([]);
  });
});
