import type { HostSample } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../fleet/testing/simulated-agent.js';
import { type ControlPlane, startControlPlane } from '../testing/control-plane.js';

const metrics = '/providers/virt8ra.metrics/v1beta1';
const work = 'tenants/default/workspaces/shop';
const instances = `/providers/seca.compute/v1/${work}/instances`;
const disks = `/providers/seca.storage/v1/${work}/block-storages`;

const hostSample: HostSample = {
  threads: 8,
  cpu: 1.5,
  steal: 0.1,
  memoryBytes: 4e9,
  memoryTotalBytes: 16e9,
  diskFreeBytes: 5e10,
  guests: 1,
  transferPerSecond: 0,
};

let plane: ControlPlane;
let agent: SimulatedAgent;

beforeAll(async () => {
  plane = await startControlPlane();
  agent = await plane.addSite('north');
}, 120_000);
afterAll(async () => await plane?.stop(), 60_000);

const itemsOf = (answer: { readonly body: unknown }) => (answer.body as { items: Record<string, unknown>[] }).items;

describe('samples', { timeout: 60_000 }, () => {
  it('are told of hosts and instances as they are now and over the last hour, and of hosts in /metrics', async () => {
    const put = async (path: string, spec: unknown, extensions = {}) => {
      expect([200, 201]).toContain((await plane.call('PUT', path, { spec, extensions })).status);
    };
    await put('/providers/seca.workspace/v1/tenants/default/workspaces/shop', {});
    await put(`${disks}/web`, { sizeGB: 1, skuRef: 'skus/rd100' });
    const spec = { zone: 'any', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/web' } };
    await put(`${instances}/web`, spec, { 'virt8ra.power': 'on' });
    const { key } = await agent.until('a guest', () => agent.all('instance')[0]);
    expect(itemsOf(await plane.call('GET', `${metrics}/hosts`))).toEqual([]);
    const volume = agent.all('volume')[0]?.key ?? '';

    agent.sample({
      host: hostSample,
      guests: [
        {
          key,
          cpu: 0.5,
          steal: 0,
          memoryBytes: 1e9,
          diskReadPerSecond: 7,
          guestMemoryUsedBytes: 5e8,
          guestMemoryTotalBytes: 9e8,
          disks: [
            { key: volume, readPerSecond: 7, writePerSecond: 0, readsPerSecond: 1, writesPerSecond: 0 },
            { key: 'stranger', readPerSecond: 1, writePerSecond: 0, readsPerSecond: 1, writesPerSecond: 0 },
          ],
        },
        { key: 'stranger', cpu: 1, steal: 0, memoryBytes: 1 },
      ],
    });
    const [seen] = await plane.until(`${metrics}/hosts`, (answer) => itemsOf(answer).length > 0 && itemsOf(answer));
    expect(seen).toMatchObject({ host: 'north-1', ...hostSample });
    // Faster than it should: the second tells nothing more.
    agent.sample({ host: { ...hostSample, cpu: 2 }, guests: [] });
    const of = `${metrics}/${work}/instances`;
    expect(itemsOf(await plane.call('GET', of))).toMatchObject([
      {
        instance: 'web',
        host: 'north-1',
        cpu: 0.5,
        diskReadPerSecond: 7,
        guestMemoryUsedBytes: 5e8,
        disks: [{ blockStorage: 'web', readPerSecond: 7, writePerSecond: 0, readsPerSecond: 1, writesPerSecond: 0 }],
      },
    ]);
    expect(itemsOf(await plane.call('GET', `${of}/web?seconds=60`))).toMatchObject([{ cpu: 0.5, memoryBytes: 1e9 }]);
    expect(itemsOf(await plane.call('GET', `${metrics}/hosts/north-1`))).toMatchObject([{ cpu: 1.5 }]);

    expect((await plane.call('GET', `${metrics}/hosts/nowhere`)).status).toBe(404);
    expect((await plane.call('GET', `${of}/nobody`)).status).toBe(404);
    expect((await plane.call('GET', `${of}/web?seconds=long`)).status).toBe(400);
    const metered = `${metrics}/paths`;
    expect(itemsOf(await plane.call('GET', metered))).toEqual([]);
    expect((await plane.call('GET', `${metered}/north-1/nowhere`)).status).toBe(404);
    expect(itemsOf(await plane.call('GET', `${metered}/north-1/north-1`))).toEqual([]);
    const text = await (await fetch(`${plane.url}/metrics`)).text();
    expect(text).toContain('virt8ra_host_cpu_threads{host="north-1"} 1.5');
    expect(text).toContain('virt8ra_host_memory_total_bytes{host="north-1"} 16000000000');
    // Everybody may read that page: no instance stands in it.
    expect(text).not.toContain('"web"');
  });
});
