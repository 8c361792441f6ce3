import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { instance } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
const web = { tenant: 't', workspace: 'w', name: 'web' };

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
  const spec = {
    zone: 'any',
    skuRef: 'skus/S',
    bootVolume: { deviceRef: 'block-storages/root' },
    dataVolumes: [{ deviceRef: 'block-storages/a' }],
  };
  plane.set(instance, web, { spec, labels: { env: 'prod' } });
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

function dataVolumes(): readonly string[] | undefined {
  const spec = plane.get(instance, web)?.spec as { readonly dataVolumes?: readonly { readonly deviceRef: string }[] } | undefined;
  return spec?.dataVolumes?.map(({ deviceRef }) => deviceRef);
}

describe('attach and detach', () => {
  it('change the data volumes of an instance and nothing else, and say nothing twice', async () => {
    plane.onChange = (kind, address) => plane.setStatus(kind, address, { state: 'active' });
    const attached = await home.run(['attach', 'web', 'b', 'block-storage/c', 'a', '--wait']);
    expect(attached).toMatchObject({ code: 0, out: expect.stringContaining('block-storage/b attached to instance/web\n') });
    expect(dataVolumes()).toEqual(['block-storages/a', 'block-storages/b', 'block-storages/c']);
    expect(plane.get(instance, web)?.labels).toEqual({ env: 'prod' });
    const puts = plane.seen.filter(({ method }) => method === 'PUT').length;
    expect((await home.run(['attach', 'web', 'c'])).code).toBe(0);
    expect(plane.seen.filter(({ method }) => method === 'PUT')).toHaveLength(puts);

    expect(await home.run(['detach', 'web', 'a', 'c'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('to be detached from instance/web'),
    });
    expect(dataVolumes()).toEqual(['block-storages/b']);
  });

  it('refuse what the instance has not, and what it boots from', async () => {
    expect(await home.run(['detach', 'web', 'z'])).toMatchObject({ code: 4, err: expect.stringContaining('no data volume') });
    expect(await home.run(['detach', 'web', 'root'])).toMatchObject({ code: 2, err: expect.stringContaining('boots from') });
    expect(dataVolumes()).toEqual(['block-storages/a']);
  });
});
