import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { agentFeatures, type HostPci } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../testing/control-plane.js';

const imports = '/providers/virt8ra.image/v1beta1/tenants/default/image-imports';
const inShop = (provider: string, rest: string) => `/providers/${provider}/tenants/default/workspaces/shop/${rest}`;
const instanceAt = (name: string) => inShop('seca.compute/v1', `instances/${name}`);
const siteAt = (name: string) => `/providers/virt8ra.topology/v1beta1/sites/${name}`;
const l4 = { vendor: 'nvidia', model: 'L4', ram: 24 } as const;

const skus = {
  'acme.gpu': { vCPU: 1, ram: 1, gpu: { count: 1, ...l4 } },
  'acme.gpus': { vCPU: 1, ram: 1, gpu: { count: 2, ...l4 } },
  'acme.nvme': { vCPU: 1, ram: 1, extensions: { 'virt8ra.pci': '144d:a80a' } },
};

function pci(gpuId: string): HostPci {
  const iommu = { on: true, reason: '1 IOMMU, 3 groups of devices' };
  return {
    iommu,
    devices: [
      { address: '0000:41:00.0', id: gpuId, class: '0302', iommuGroup: 1, gpu: { ...l4 }, state: 'offered' },
      { address: '0000:41:00.1', id: '10de:22bb', class: '0403', iommuGroup: 1, state: 'companion', with: '0000:41:00.0' },
      { address: '0000:42:00.0', id: '144d:a80a', class: '0108', name: 'NVMe', iommuGroup: 2, state: 'offered' },
      { address: '0000:43:00.0', id: '144d:a80a', class: '0108', iommuGroup: 3, state: 'refused', reason: 'it has a disk of the host’s' },
    ],
  };
}

interface Seen {
  readonly spec: { readonly gpu?: unknown };
  readonly status: {
    readonly state: string;
    readonly activity?: { readonly value: string };
    readonly placement?: { readonly site: string };
    readonly phase?: string;
    readonly problem?: string;
    readonly pciDevices?: readonly { readonly id: string; readonly free: number }[];
    readonly inventory?: { readonly pci?: HostPci };
    readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
  };
}
const seen = ({ body }: Answer): Seen => body as Seen;
const runs = (answer: Answer) => seen(answer).status.state === 'active' && seen(answer).status.activity?.value === 'running';

describe('instances with PCI devices of their host', { timeout: 60_000 }, () => {
  let plane: ControlPlane;
  let alpha: SimulatedAgent;
  let folder: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'virt8ra-skus-'));
    await writeFile(join(folder, 'skus.json'), JSON.stringify(skus));
    plane = await startControlPlane(['--instance-skus', join(folder, 'skus.json')]);
    alpha = await plane.addSite('alpha', { facts: { pci: pci('10de:27b8') } });
    const content = randomBytes(1024 * 1024);
    const source = { upload: { sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') } };
    await plane.call('PUT', `${imports}/base`, { spec: { source, cpuArchitecture: 'amd64', boot: 'BIOS', format: 'raw' } });
    await plane.upload(`${imports}/base/content`, content);
    await plane.until('/providers/seca.storage/v1/tenants/default/images/base', (answer) => answer.status === 200);
    await plane.call('PUT', '/providers/seca.workspace/v1/tenants/default/workspaces/shop', { spec: {} });
  }, 120_000);
  afterAll(async () => {
    await plane?.stop();
    await rm(folder, { recursive: true, force: true });
  }, 60_000);

  const put = async (name: string, sku: string, zone = 'alpha') =>
    await plane.call('PUT', instanceAt(name), {
      spec: { zone, skuRef: `skus/${sku}`, bootVolume: { deviceRef: `block-storages/${name}` } },
      extensions: { 'virt8ra.power': 'on' },
    });
  const make = async (name: string, sku: string, zone?: string) => {
    const disk = { sizeGB: 1, skuRef: 'skus/rd100', sourceImageRef: 'images/base' };
    await plane.call('PUT', inShop('seca.storage/v1', `block-storages/${name}`), { spec: disk });
    expect(await put(name, sku, zone)).toMatchObject({ status: 201 });
  };
  const refusal = async (name: string, word: string) =>
    await plane.until(instanceAt(name), (answer) => {
      const message = seen(answer).status.conditions[0]?.message ?? '';
      return message.includes(word) && message;
    });
  const free = (site: string, id: string, count: number) =>
    plane.until(siteAt(site), (answer) => seen(answer).status.pciDevices?.find((each) => each.id === id)?.free === count);
  const wanted = (agent: SimulatedAgent, name: string) => agent.desired.instances.find((each) => each.name === name)?.pciDevices;
  const move = async (name: string, mode: string) => {
    const path = inShop('virt8ra.migration/v1beta1', `migrations/${name}`);
    await plane.call('PUT', path, { spec: { instanceRef: 'instances/first', toSite: 'beta', mode } });
    return await plane.until(
      path,
      (answer) => ['done', 'returned', 'failed'].includes(seen(answer).status.phase ?? '') && seen(answer).status,
    );
  };

  it('get those that nobody has, keep them over changes of size, and take equal ones where they move', async () => {
    const sku = await plane.call('GET', '/providers/seca.compute/v1/tenants/default/skus/acme.gpu');
    expect(seen(sku).spec.gpu).toEqual({ count: 1, ...l4 });
    const host = await plane.call('GET', '/providers/virt8ra.topology/v1beta1/hosts/alpha-1');
    expect(seen(host).status.inventory?.pci).toEqual(pci('10de:27b8'));
    await free('alpha', '144d:a80a', 1);

    await make('first', 'acme.gpu');
    await plane.until(instanceAt('first'), runs);
    expect(wanted(alpha, 'first')).toEqual([{ id: '10de:27b8', count: 1 }]);
    await free('alpha', '10de:27b8', 0);
    await make('second', 'acme.gpu');
    expect(await refusal('second', 'of that kind')).toContain(
      'alpha/alpha-1: 0 free of 1 of that kind, 1 GPU nvidia L4 of 24 GB needed (free 1 of them on alpha-1)',
    );

    // Another size: claimed before it is promised, given back once its guest does without.
    await make('plain', 'seca.xs');
    await plane.until(instanceAt('plain'), runs);
    expect(await put('plain', 'acme.gpu')).toMatchObject({ status: 409, body: { detail: expect.stringContaining('nothing was changed') } });
    expect(wanted(alpha, 'plain')).toBeUndefined();
    expect(await put('plain', 'acme.nvme')).toMatchObject({ status: 200 });
    await free('alpha', '144d:a80a', 0);
    await alpha.until('it is told', () => wanted(alpha, 'plain')?.[0]?.id === '144d:a80a');
    expect(await put('plain', 'seca.xs')).toMatchObject({ status: 200 });
    await free('alpha', '144d:a80a', 1);
    expect(wanted(alpha, 'plain')).toBeUndefined();
    expect(await put('first', 'acme.gpus')).toMatchObject({ status: 409, body: { detail: expect.stringContaining('fewer of them') } });

    const beta = await plane.addSite('beta', { facts: { pci: pci('10de:26b9') } });
    expect(await move('by-memory', 'live')).toMatchObject({
      phase: 'returned',
      problem: expect.stringContaining('PCI devices of its host'),
    });
    expect(await move('by-disk', 'warm')).toMatchObject({ phase: 'done' });
    expect(wanted(beta, 'first')).toEqual([{ id: '10de:26b9', count: 1 }]);
    await free('beta', '10de:26b9', 0);

    // What it left is the next one's.
    await plane.until(instanceAt('second'), runs);
    expect(wanted(alpha, 'second')).toEqual([{ id: '10de:27b8', count: 1 }]);
    await plane.call('DELETE', instanceAt('second'));
    await free('alpha', '10de:27b8', 1);
  });

  it('are refused by agents that know nothing of it, and by hosts without any, in words', async () => {
    await plane.addSite('delta', { facts: { pci: pci('10de:27b8') }, features: agentFeatures.filter((each) => each !== 'pci-devices') });
    await make('old', 'acme.nvme', 'delta');
    expect(await refusal('old', 'older release')).toContain('cannot give pci-devices');
    await plane.addSite('epsilon');
    await make('none', 'acme.gpu', 'epsilon');
    expect(await refusal('none', 'no PCI device')).toContain('--pci-devices ID=L4/24 on epsilon-1');
  });

  it('never change under their users: a size that is sold keeps what it is', async () => {
    await plane.restart();
    await writeFile(join(folder, 'skus.json'), JSON.stringify({ 'acme.gpu': { vCPU: 2, ram: 1 } }));
    await expect(plane.restart()).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('acme.gpu') });
    await writeFile(join(folder, 'skus.json'), JSON.stringify(skus));
  });
});
