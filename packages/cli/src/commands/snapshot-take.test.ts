import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { snapshot } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
const address = { tenant: 't', workspace: 'w', name: 'before' };

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

describe('snapshot and revert', () => {
  it('say of what moment it is, and bring it back', async () => {
    plane.onChange = (kind, at, verb) => {
      if (kind === snapshot && verb === 'put') plane.setStatus(kind, at, { phase: 'taken', takenAt: 'then', consistency: 'file-system' });
    };
    expect(await home.run(['snapshot', 'web', '--name', 'before'])).toMatchObject({
      code: 0,
      out: 'snapshot/before taken: of then, file systems at rest\n',
    });
    expect(plane.get(snapshot, address)?.spec).toEqual({ instanceRef: 'instances/web' });
    expect((await home.run(['snapshot', 'disk/data'])).code).toBe(0);
    expect((await home.run(['snapshot', 'network/lan'])).code).toBe(2);
    expect(await home.run(['revert', 'before'])).toMatchObject({ code: 0, out: expect.stringContaining('as they were') });
    expect(plane.seen.some(({ method, path }) => method === 'POST' && path.endsWith('/snapshots/before/revert'))).toBe(true);
    expect((await home.run(['revert', 'none'])).code).toBe(4);
  });
});
