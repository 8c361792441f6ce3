import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SimulatedAgent } from '../../fleet/testing/simulated-agent.js';
import { type ControlPlane, startControlPlane } from '../../testing/control-plane.js';
import { assertVendorData } from './vendor-data.js';

const topology = '/providers/virt8ra.topology/v1beta1';
const workspace = 'tenants/default/workspaces/shop';
const instances = `/providers/seca.compute/v1/${workspace}/instances`;

describe('vendor data of a site', { timeout: 60_000 }, () => {
  let plane: ControlPlane;
  let agent: SimulatedAgent;
  beforeAll(async () => {
    plane = await startControlPlane();
    agent = await plane.addSite('here');
    await plane.call('PUT', `/providers/seca.workspace/v1/${workspace}`, { spec: {} });
  }, 120_000);
  afterAll(async () => await plane?.stop(), 60_000);

  const setSite = async (vendorData?: string) =>
    await plane.call('PUT', `${topology}/sites/here`, {
      spec: { accountRef: 'accounts/test', country: 'PL', tier: 'edge', ...(vendorData === undefined ? {} : { vendorData }) },
    });

  it('reaches its guests beside their user data, whenever it changes', async () => {
    const ntp = '#cloud-config\nntp: {servers: [10.0.0.1]}\n';
    expect((await setSite(ntp)).status).toBe(200);
    await plane.call('PUT', `/providers/seca.storage/v1/${workspace}/block-storages/a`, { spec: { sizeGB: 1, skuRef: 'skus/rd100' } });
    const spec = { zone: 'here', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/a' }, userData: '#cloud-config\n{}\n' };
    expect((await plane.call('PUT', `${instances}/a`, { spec })).status).toBe(201);
    const seed = () => agent.desired.instances[0]?.seed;
    await agent.until('it has both', () => seed()?.vendorData === ntp && seed()?.userData === spec.userData);
    expect((await setSite()).status).toBe(200);
    expect((await plane.call('POST', `${instances}/a/start`)).status).toBe(202);
    await agent.until('it is told of no more', () => seed() !== undefined && seed()?.vendorData === undefined);
  });

  it('is refused when cloud-init would not know what it is, or it is too long', async () => {
    expect((await setSite('ntp: {}')).body).toMatchObject({ sources: [{ pointer: '/spec/vendorData' }] });
    expect((await setSite(`#cloud-config\n${'#'.repeat(16384)}`)).status).toBe(422);
    for (const fine of [
      '#cloud-config',
      '#!/bin/sh\n',
      'Content-Type: multipart/mixed; boundary="x"\n',
      '## template: jinja\n#cloud-config\n',
    ])
      expect(() => assertVendorData(fine)).not.toThrow();
  });
});
