import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../fleet/testing/simulated-agent.js';
import { type Answer, type ControlPlane, startControlPlane } from '../testing/control-plane.js';

const topology = '/providers/virt8ra.topology/v1beta1';
const storage = '/providers/seca.storage/v1/tenants/default';
const imports = '/providers/virt8ra.image/v1beta1/tenants/default/image-imports';

interface Seen {
  readonly spec?: Record<string, unknown>;
  readonly status?: Record<string, unknown> & { readonly state?: string; readonly phase?: string; readonly conditions: readonly object[] };
}
const seen = ({ body }: Answer): Seen => body as Seen;
const digestOf = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

let plane: ControlPlane;
let agent: SimulatedAgent;
beforeAll(async () => {
  plane = await startControlPlane();
  agent = await plane.addSite('warsaw');
}, 120_000);
afterAll(async () => await plane.stop(), 60_000);

const upload = (content: Buffer, sha256 = digestOf(content)) => ({
  source: { upload: { sizeBytes: content.length, sha256 } },
  cpuArchitecture: 'amd64',
  boot: 'BIOS',
  format: 'raw',
});

describe('catalogue', () => {
  it('sells the same sizes to every tenant, with whole GiB of memory, and takes no changes', async () => {
    const path = '/providers/seca.compute/v1/tenants/default/skus/seca.xs';

    expect(seen(await plane.call('GET', path)).spec).toEqual({ vCPU: 1, ram: 1 });
    expect(seen(await plane.call('GET', `${storage}/skus/rd100`)).spec).toEqual({ iops: 100, type: 'remote-durable', minVolumeSize: 1 });
    expect((await plane.call('GET', '/providers/seca.network/v1/tenants/default/skus/n1k')).status).toBe(200);
    expect((await plane.call('PUT', path, { spec: { vCPU: 2, ram: 1 } })).status).toBeGreaterThanOrEqual(404);
  });
});

describe('topology', () => {
  it('shows the sites as zones of the region', async () => {
    const { body } = await plane.call('GET', '/providers/seca.region/v1/regions');

    expect(body).toMatchObject({ items: [{ spec: { availableZones: ['any', 'warsaw'] } }] });
  });

  it('takes no account with a driver that is not built in', async () => {
    const { status, body } = await plane.call('PUT', `${topology}/accounts/odd`, {
      spec: { providerRef: 'providers/test', driver: 'carrier-pigeon' },
    });

    expect(status).toBe(422);
    expect(JSON.stringify(body)).toContain('no driver carrier-pigeon is built in; there is agent');
  });

  it.each(['any', 'a'.repeat(33)])('takes no site named %s', async (name) => {
    const spec = { accountRef: 'accounts/test', country: 'PL', tier: 'edge' };

    expect((await plane.call('PUT', `${topology}/sites/${name}`, { spec })).status).toBe(422);
  });

  it('shows what a site has, by what its hosts tell', async () => {
    const { status } = seen(await plane.call('GET', `${topology}/sites/warsaw`));

    expect(status).toMatchObject({
      hosts: 1,
      reachable: { value: true },
      capacity: { vCPU: 8, vCPUFree: 8, memoryMiB: 12_288, memoryMiBFree: 12_288 },
    });
  });

  it('shows a host as connected while it is heard, and cordons it', async () => {
    const path = `${topology}/hosts/warsaw-1`;
    await plane.until(path, (answer) => (seen(answer).status?.['connected'] as { value?: boolean } | undefined)?.value === true);

    expect((await plane.call('POST', `${path}/cordon`)).status).toBe(202);
    expect(seen(await plane.call('GET', path)).status).toMatchObject({
      cordoned: true,
      instances: 0,
      connected: { source: 'agent/warsaw-1' },
    });
    expect((await plane.call('POST', `${path}/uncordon`)).status).toBe(202);
    expect(seen(await plane.call('GET', path)).status).not.toHaveProperty('cordoned');
  });

  it('keeps what is in use, and shuts the agent of a deleted host out', async () => {
    expect((await plane.call('DELETE', `${topology}/providers/test`)).status).toBe(409);
    expect((await plane.call('DELETE', `${topology}/accounts/test`)).status).toBe(409);
    expect((await plane.call('DELETE', `${topology}/sites/warsaw`)).status).toBe(409);

    const spare = await plane.addSite('spare');
    expect((await plane.call('DELETE', `${topology}/hosts/spare-1`)).status).toBe(202);
    expect((await plane.call('GET', `${topology}/hosts/spare-1`)).status).toBe(404);
    await spare.until('refused', () => !spare.connected);
    expect((await plane.call('DELETE', `${topology}/sites/spare`)).status).toBe(202);
    expect(agent.connected).toBe(true);
  });
});

describe('image import', () => {
  it('makes the image of what was sent, and lets further images be made of it', async () => {
    const content = randomBytes(256 * 1024);
    const made = await plane.call('PUT', `${imports}/base`, { spec: upload(content) });
    expect(seen(made).status).toMatchObject({ phase: 'waiting-for-content', totalBytes: content.length });

    const early = {
      spec: { blockStorageRef: { resource: `virt8ra.image/v1beta1/tenants/default/image-imports/base` }, cpuArchitecture: 'amd64' },
    };
    expect((await plane.call('PUT', `${storage}/images/early`, early)).status).toBe(422);

    await plane.upload(`${imports}/base/content`, content);
    await plane.until(`${imports}/base`, (answer) => seen(answer).status?.phase === 'done' && seen(answer).status?.state === 'active');
    expect(seen(await plane.call('GET', `${storage}/images/base`))).toMatchObject({
      spec: { cpuArchitecture: 'amd64', boot: 'BIOS' },
      status: { state: 'active', sha256: digestOf(content), virtualSizeBytes: content.length },
    });

    expect((await plane.call('PUT', `${storage}/images/early`, early)).status).toBe(201);
    expect((await plane.call('DELETE', `${imports}/base`)).status).toBe(202);
    await plane.until(`${imports}/base`, ({ status }) => status === 404);
    expect((await plane.call('PUT', `${storage}/images/early`, { ...early, labels: { tier: 'gold' } })).status).toBe(200);
    expect(seen(await plane.call('GET', `${storage}/images/early`)).status).toMatchObject({ sha256: digestOf(content) });
  });

  it('refuses content that is not what was announced, and says so', async () => {
    const content = randomBytes(64 * 1024);
    await plane.call('PUT', `${imports}/false`, { spec: upload(content, 'a'.repeat(64)) });
    await plane.upload(`${imports}/false/content`, content);
    const found = await plane.until(`${imports}/false`, (answer) => seen(answer).status?.phase === 'refused' && seen(answer));

    expect(found.status?.conditions[0]).toMatchObject({ state: 'error', message: expect.stringContaining('not what was announced') });
    expect((await plane.call('GET', `${storage}/images/false`)).status).toBe(404);
    expect((await plane.call('POST', `${imports}/false/cancel`)).status).toBe(409);
  });

  it('refuses a URL that leads into the control plane’s own network', async () => {
    const spec = { source: { url: 'http://127.0.0.1:9/disk', sha256: 'c'.repeat(64) }, cpuArchitecture: 'amd64' };
    expect((await plane.call('PUT', `${imports}/inward`, { spec })).status).toBe(201);
    const found = await plane.until(`${imports}/inward`, (answer) => seen(answer).status?.phase === 'refused' && seen(answer));

    expect(found.status?.conditions[0]).toMatchObject({ state: 'error', message: expect.stringContaining('127.0.0.1') });
    expect((await plane.call('DELETE', `${imports}/inward`)).status).toBe(202);
    await plane.until(`${imports}/inward`, ({ status }) => status === 404);
  });

  it('takes no more content once cancelled', async () => {
    const content = randomBytes(64 * 1024);
    await plane.call('PUT', `${imports}/dropped`, { spec: upload(content) });

    expect((await plane.call('POST', `${imports}/dropped/cancel`)).status).toBe(202);
    await expect(plane.upload(`${imports}/dropped/content`, content)).rejects.toThrow('takes no more content');
  });

  it('takes no image from a block storage, nor from one that is not there', async () => {
    const from = async (resource: string): Promise<number> =>
      (await plane.call('PUT', `${storage}/images/x`, { spec: { blockStorageRef: { resource }, cpuArchitecture: 'amd64' } })).status;

    expect(await from('block-storages/disk')).toBe(422);
    expect(await from('image-imports/nothing')).toBe(422);
  });
});
