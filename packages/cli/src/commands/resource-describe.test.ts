import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { instance } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
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

it('describe shows what the guest tells of itself, by whom and how old, beside the facts that were seen', async () => {
  const web = { tenant: 't', workspace: 'w', name: 'web' };
  const observedAt = new Date(Date.now() - 120_000).toISOString();
  plane.set(instance, web, { spec: { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } } });
  plane.setStatus(instance, web, {
    state: 'active',
    activity: { value: 'running', source: 'agent/h1', observedAt },
    guest: {
      value: { hostName: 'inside', interfaces: [{ name: 'eth0', addresses: ['10.0.0.7/24'] }] },
      source: 'agent/h1/guest',
      observedAt,
    },
  });
  const { code, out } = await home.run(['describe', 'instance', 'web']);
  expect(code).toBe(0);
  expect(out).toMatch(/activity +running +2m.* +agent\/h1\n/);
  expect(out).toMatch(/guest, seen 2m.* ago by agent\/h1\/guest:\n {2}hostName: inside\n/);
  expect(out).toContain('10.0.0.7/24');
  expect(out).not.toContain('[object Object]');
});
