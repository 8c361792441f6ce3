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

const web = { tenant: 't', workspace: 'w', name: 'web' };
const rescue = (phase: string) => ({ rescue: { phase, imageRef: { resource: 'images/tools' }, since: new Date().toISOString() } });

it('rescue waits until the guest was seen in rescue, and out of it', async () => {
  plane.set(instance, web, { spec: { zone: 'any', skuRef: 'skus/S', bootVolume: { deviceRef: 'block-storages/root' } } });
  plane.setStatus(instance, web, { state: 'active' });
  plane.onChange = (_kind, _address, verb) => {
    const [first, then] = verb === 'rescue' ? [rescue('starting'), rescue('running')] : [rescue('ending'), {}];
    plane.setStatus(instance, web, { state: 'active', ...first });
    setTimeout(() => plane.setStatus(instance, web, { state: 'active', rescue: undefined, ...then }), 50);
  };
  const begun = await home.run(['rescue', 'web', '--image', 'tools', '--timeout', '20s']);
  expect(begun).toMatchObject({ code: 0, out: 'instance/web runs in rescue; end it with: virt8ra rescue web --end\n' });
  const ended = await home.run(['rescue', 'web', '--end', '--timeout', '20s']);
  expect(ended).toMatchObject({ code: 0, out: 'instance/web has its own boot volume again\n' });
  expect(await home.run(['rescue', 'web', '--end', '--image', 'tools'])).toMatchObject({ code: 2 });
});
