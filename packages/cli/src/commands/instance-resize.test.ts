import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { instance, Problem } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

const web = { tenant: 't', workspace: 'w', name: 'web' };
const spec = { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } };
const labels = { env: 'prod' };
const running = {
  state: 'active',
  powerState: 'on',
  activity: { value: 'running', source: 'agent/h1', observedAt: new Date().toISOString() },
};
const skuOf = () => (plane.get(instance, web)?.spec as { skuRef?: unknown } | undefined)?.skuRef;

describe('resize', () => {
  it('changes the SKU alone, restarts what runs, and ends when nothing of it is as before', async () => {
    plane.set(instance, web, { spec, labels });
    plane.setStatus(instance, web, running);
    plane.onChange = (_kind, _address, verb) => {
      if (verb === 'put') {
        const differences = [{ field: 'vCPU', desired: '4', actual: '1' }];
        plane.setStatus(instance, web, { ...running, differences, conditions: [{ state: 'active', reason: 'Differs' }] });
      }
      if (verb === 'restart') {
        plane.setStatus(instance, web, { state: 'updating' });
        setTimeout(
          () => plane.setStatus(instance, web, { ...running, differences: [], conditions: [{ state: 'active', reason: 'Running' }] }),
          50,
        );
      }
    };
    const done = await home.run(['resize', 'web', '--sku', 'L', '--timeout', '20s']);
    expect(done).toMatchObject({ code: 0, out: 'instance/web runs as L\n' });
    expect(done.err).toContain('restarted on the same disks');
    expect(plane.get(instance, web)).toMatchObject({ labels, spec: { ...spec, skuRef: 'skus/L' } });
    const again = await home.run(['resize', 'web', '--sku', 'L']);
    expect(again).toMatchObject({ code: 0, out: 'instance/web is L already\n' });
  });

  it('leaves what is off, or is to be left, for its next start', async () => {
    plane.set(instance, web, { spec });
    plane.setStatus(instance, web, { state: 'active', powerState: 'off' });
    expect(await home.run(['resize', 'web', '--sku', 'M'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('from its next start on'),
    });
    plane.setStatus(instance, web, running);
    expect(await home.run(['resize', 'web', '--sku', 'L', '--later'])).toMatchObject({
      code: 0,
      out: expect.stringContaining('from its next restart on'),
    });
    expect(skuOf()).toBe('skus/L');
    expect(plane.seen.some(({ path }) => path.endsWith('/restart'))).toBe(false);
  });

  it('needs an instance and a SKU', async () => {
    expect((await home.run(['resize', 'web'])).code).toBe(2);
    expect((await home.run(['resize', 'nobody', '--sku', 'M'])).code).toBe(new Problem('not-found', '').exitCode);
  });
});
