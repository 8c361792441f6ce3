import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../fleet/testing/simulated-agent.js';
import { type ControlPlane, startControlPlane } from '../../testing/control-plane.js';

const imports = '/providers/virt8ra.image/v1beta1/tenants/default/image-imports';
const inShop = (provider: string, rest: string) => `/providers/${provider}/v1/tenants/default/workspaces/shop/${rest}`;
const site = '/providers/virt8ra.topology/v1beta1/sites/alpha';
const capacity = { vCPU: 8, memoryMiB: 8192, storageBytes: 100e9, dedicatedCPU: 1, huge2Mi: 2048, huge1Gi: 0 };

interface Seen {
  readonly extensions?: Readonly<Record<string, string>>;
  readonly status: {
    readonly state: string;
    readonly activity?: { readonly value: string };
    readonly placement?: { readonly host?: string };
    readonly capacity?: Readonly<Record<string, number>>;
    readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
  };
}

describe('a size of dedicated CPUs and huge pages', { timeout: 60_000 }, () => {
  let plane: ControlPlane;
  let agent: SimulatedAgent;

  beforeAll(async () => {
    plane = await startControlPlane();
    agent = await plane.addSite('alpha', { facts: { capacity } });
    const content = randomBytes(1024 * 1024);
    const source = { upload: { sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') } };
    await plane.call('PUT', `${imports}/base`, { spec: { source, cpuArchitecture: 'amd64', boot: 'BIOS', format: 'raw' } });
    await plane.upload(`${imports}/base/content`, content);
    await plane.until('/providers/seca.storage/v1/tenants/default/images/base', (answer) => answer.status === 200);
    await plane.call('PUT', '/providers/seca.workspace/v1/tenants/default/workspaces/shop', { spec: {} });
  }, 120_000);
  afterAll(async () => await plane.stop(), 60_000);

  const make = async (name: string, sku: string) => {
    const disk = { sizeGB: 1, skuRef: 'skus/rd100', sourceImageRef: 'images/base' };
    await plane.call('PUT', inShop('seca.storage', `block-storages/${name}`), { spec: disk });
    return await plane.call('PUT', inShop('seca.compute', `instances/${name}`), {
      spec: { zone: 'alpha', skuRef: `skus/${sku}`, bootVolume: { deviceRef: `block-storages/${name}` } },
      extensions: { 'virt8ra.power': 'on' },
    });
  };
  const room = async () => ((await plane.call('GET', site)).body as Seen).status.capacity;
  const refusal = async (name: string) =>
    await plane.until(inShop('seca.compute', `instances/${name}`), ({ body }) => {
      const message = (body as Seen).status.conditions[0]?.message ?? '';
      return message.includes('needed') && message;
    });

  it('takes room of its own, which is never sold twice, and says what a host lacks', async () => {
    const sku = await plane.call('GET', '/providers/seca.compute/v1/tenants/default/skus/virt8ra.phxs');
    expect((sku.body as Seen).extensions).toEqual({ 'virt8ra.cpu-policy': 'dedicated', 'virt8ra.huge-pages': '2Mi' });
    const before = await room();
    expect(before).toMatchObject({ dedicatedCPU: 1, dedicatedCPUFree: 1, huge2Mi: 2048, huge2MiFree: 2048 });
    expect(before).not.toHaveProperty('huge1Gi');

    await make('first', 'virt8ra.phxs');
    await plane.until(inShop('seca.compute', 'instances/first'), ({ body }) => (body as Seen).status.activity?.value === 'running');
    expect(agent.desired.instances[0]).toMatchObject({ vCPU: 1, memoryMiB: 1024, cpuPolicy: 'dedicated', hugePages: '2Mi' });
    const { vCPUFree, memoryMiBFree } = before ?? {};
    expect(await room()).toMatchObject({ vCPUFree, memoryMiBFree, dedicatedCPUFree: 0, huge2MiFree: 1024 });

    await make('second', 'virt8ra.pxs');
    expect(await refusal('second')).toContain(
      '0 dedicated CPUs free of 1 dedicated CPU, 1 dedicated CPU needed (free 1 dedicated CPU on alpha-1)',
    );
    await make('shared', 'seca.xs');
    await plane.until(inShop('seca.compute', 'instances/shared'), ({ body }) => (body as Seen).status.activity?.value === 'running');
    expect(agent.desired.instances.find(({ name }) => name === 'shared')).not.toHaveProperty('cpuPolicy');
  });
});
