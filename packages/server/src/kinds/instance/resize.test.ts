import { createHash, randomBytes } from 'node:crypto';
import { type Difference, type InstanceSpec, instance as instanceKind } from '@virt8ra/contract';
import type { InstanceRealizationStatus } from '@virt8ra/driver';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../fleet/testing/simulated-agent.js';
import { createStore } from '../../resources/create-store.js';
import { type Answer, type ControlPlane, startControlPlane } from '../../testing/control-plane.js';
import { settleSize } from './resize.js';

const storage = '/providers/seca.storage/v1/tenants/default';
const imports = '/providers/virt8ra.image/v1beta1/tenants/default/image-imports';
const inShop = (provider: string, rest: string) => `/providers/${provider}/v1/tenants/default/workspaces/shop/${rest}`;
const instance = inShop('seca.compute', 'instances/web');
const site = '/providers/virt8ra.topology/v1beta1/sites/alpha';

interface Seen {
  readonly spec: { readonly skuRef: string };
  readonly status: {
    readonly state: string;
    readonly activity?: { readonly value: string };
    readonly differences?: readonly Difference[];
    readonly conditions: readonly { readonly reason?: string; readonly message?: string }[];
    readonly capacity?: { readonly vCPUFree: number; readonly memoryMiBFree: number };
  };
}
const seen = ({ body }: Answer): Seen => body as Seen;
const settled = (activity: string) => (answer: Answer) => {
  const { status } = seen(answer);
  return status.state === 'active' && status.activity?.value === activity && status;
};

const asWanted = (answer: Answer) => (seen(answer).status.differences ?? []).length === 0 && settled('running')(answer);

describe('another SKU for an instance', { timeout: 60_000 }, () => {
  let plane: ControlPlane;
  let agent: SimulatedAgent;

  beforeAll(async () => {
    plane = await startControlPlane();
    agent = await plane.addSite('alpha');
    const content = randomBytes(1024 * 1024);
    const sha256 = createHash('sha256').update(content).digest('hex');
    const source = { upload: { sizeBytes: content.length, sha256 } };
    await plane.call('PUT', `${imports}/base`, { spec: { source, cpuArchitecture: 'amd64', boot: 'BIOS', format: 'raw' } });
    await plane.upload(`${imports}/base/content`, content);
    await plane.until(`${storage}/images/base`, (answer) => answer.status === 200 && seen(answer).status.state === 'active');
    await plane.call('PUT', '/providers/seca.workspace/v1/tenants/default/workspaces/shop', { spec: {} });
    const disk = { sizeGB: 1, skuRef: 'skus/rd100', sourceImageRef: 'images/base' };
    await plane.call('PUT', inShop('seca.storage', 'block-storages/root'), { spec: disk });
    await put('seca.s', { 'virt8ra.power': 'on' });
    await plane.until(instance, settled('running'));
  }, 120_000);
  afterAll(async () => await plane.stop(), 60_000);

  const put = async (sku: string, extensions?: Record<string, string>) =>
    await plane.call('PUT', instance, {
      spec: { zone: 'alpha', skuRef: `skus/${sku}`, bootVolume: { deviceRef: 'block-storages/root' } },
      extensions: extensions ?? { 'virt8ra.power': 'on' },
    });
  const free = async () => {
    const { capacity } = seen(await plane.call('GET', site)).status;
    return [capacity?.vCPUFree, capacity?.memoryMiBFree];
  };
  const guest = () => agent.all('instance')[0];

  it('is refused when its host has no room for it, and then nothing has changed', async () => {
    const room = await free();
    const refused = await put('seca.2xl');
    expect(refused).toMatchObject({
      status: 409,
      body: { code: 'exhausted', detail: expect.stringContaining('virt8ra migrate web'), sources: [{ pointer: '/spec/skuRef' }] },
    });
    expect(seen(await plane.call('GET', instance)).spec.skuRef).toBe('skus/seca.s');
    expect(await free()).toEqual(room);
  });

  it('is claimed at once, told of while the guest runs as before, and there after a restart', async () => {
    const [vCPU = 0, memory = 0] = await free();
    const startedAt = guest()?.startedAt;
    expect((await put('seca.l')).status).toBe(200);
    expect(await free()).toEqual([vCPU - 3, memory - 6 * 1024]);
    const status = await plane.until(instance, (answer) => seen(answer).status.conditions[0]?.reason === 'Differs' && seen(answer).status);
    expect(status.differences).toEqual([
      { field: 'vCPU', desired: '4', actual: '1' },
      { field: 'memoryMiB', desired: '8192', actual: '2048' },
    ]);
    expect(status.conditions[0]).toMatchObject({ reason: 'Differs', message: expect.stringContaining('memoryMiB is 2048, wanted 8192') });
    expect(guest()?.startedAt).toBe(startedAt);
    await plane.call('POST', `${instance}/restart`);
    const after = await plane.until(instance, asWanted);
    expect(after.differences).toEqual([]);
    expect(after.conditions[0]).toMatchObject({ reason: 'Running' });
    expect(guest()?.startedAt).not.toBe(startedAt);
  });

  it('gives room back only when the larger guest is gone', async () => {
    const [vCPU = 0, memory = 0] = await free();
    expect((await put('seca.s')).status).toBe(200);
    await plane.until(instance, (answer) => (seen(answer).status.differences ?? []).length > 0);
    expect(await free()).toEqual([vCPU, memory]);
    await plane.call('POST', `${instance}/restart`);
    await plane.until(instance, asWanted);
    await expect.poll(free, { timeout: 20_000 }).toEqual([vCPU + 3, memory + 6 * 1024]);
  });

  it('applies at the next start of one that is off', async () => {
    await plane.call('POST', `${instance}/stop`);
    await plane.until(instance, settled('stopped'));
    expect((await put('seca.xs')).status).toBe(200);
    const off = await plane.until(instance, settled('stopped'));
    expect(off.differences ?? []).toEqual([]);
    await plane.call('POST', `${instance}/start`);
    const on = await plane.until(instance, settled('running'));
    expect(on.differences ?? []).toEqual([]);
  });

  it('is not given back by who still has the old one in mind', async () => {
    const pool = new pg.Pool({ connectionString: plane.databaseUrl });
    try {
      const store = createStore({ pool, queue: { nudge: async () => undefined } });
      const old = await store.get<InstanceSpec>(instanceKind, { tenant: 'default', workspace: 'shop', name: 'web' });
      if (old === undefined) throw new Error('there is no instance');
      expect((await put('seca.l')).status).toBe(200);
      const claimed = await free();
      const size = { vCPU: 1, memoryMiB: 1024 } as const;
      const status = { activity: 'running', volumes: [], differences: [] } as unknown as InstanceRealizationStatus;
      const seen = { type: 'present', at: new Date().toISOString(), source: 'test', status } as const;
      await settleSize({ store }, old, size, seen);
      expect(await free()).toEqual(claimed);
    } finally {
      await pool.end();
    }
  });
});
