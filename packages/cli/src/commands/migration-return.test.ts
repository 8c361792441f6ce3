import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { migration } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
const address = { tenant: 't', workspace: 'w', name: 'm' };
const wayBack = {
  at: { site: 'north', host: 'h1' },
  openedAt: '2026-01-01T00:00:00.000Z',
  until: '2026-01-02T00:00:00.000Z',
  retainedBytes: 5 * 1024 ** 2,
  reverse: { state: 'current', passes: 3, bytes: 1024, at: '2026-01-01T00:00:00.000Z' },
  attempt: 1,
} as const;
const digests = [{ disk: 'root', source: 'ab'.repeat(32), target: 'ab'.repeat(32), equal: true }];

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

describe('a way back', () => {
  it('is asked for with the move, and told at its end', async () => {
    plane.onChange = (kind, at, verb) => {
      if (kind === migration && verb === 'put') plane.setStatus(kind, at, { phase: 'kept', to: { site: 'south' }, digests, wayBack });
    };
    const done = await home.run(['migrate', 'web', '--to', 'south', '--name', 'm', '--keep', '1d']);
    expect(done).toMatchObject({
      code: 0,
      out: expect.stringContaining('way back  to h1 until 2026-01-02T00:00:00.000Z, 5 MiB kept there'),
    });
    expect(plane.get(migration, address)?.spec).toMatchObject({ wayBack: { hours: 24 } });
    for (const keep of ['90m', '32d', 'long'])
      expect((await home.run(['migrate', 'web', '--to', 'south', '--keep', keep])).code, keep).toBe(2);
  });

  it('is gone, followed to its end, and its figures are told', async () => {
    plane.set(migration, address, { spec: { instanceRef: 'instances/web', toSite: 'south', mode: 'warm', wayBack: { hours: 24 } } });
    plane.setStatus(migration, address, { phase: 'kept', wayBack });
    const journey = { mode: 'warm', askedAt: '', askedBy: 'ada', pauseMs: 40, bytes: 1024, passes: 4, digests } as const;
    plane.onChange = (kind, at, verb) => {
      if (verb === 'return')
        plane.setStatus(kind, at, { phase: 'brought-back', wayBack: { ...wayBack, ended: 'returned' }, return: journey });
      if (verb === 'release') plane.setStatus(kind, at, { phase: 'done' });
    };
    const back = await home.run(['migration', 'return', 'm', '--mode', 'warm']);
    expect(back).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^migration\/m is back at north on h1 after .*\n {2}pause {5}40 ms\n/),
    });
    expect(back.out).toContain('bytes     1 KiB in 4 passes');
    expect(await home.run(['migration', 'release', 'm', '--wait'])).toMatchObject({
      code: 0,
      out: 'migration/m keeps no way back any more\n',
    });
  });

  it('says why it was undone, and that the way back is still open', async () => {
    plane.set(migration, address, { spec: { instanceRef: 'instances/web', toSite: 'south', mode: 'warm', wayBack: { hours: 24 } } });
    plane.setStatus(migration, address, { phase: 'kept', wayBack });
    const journey = { mode: 'warm', askedAt: '', askedBy: 'ada', problem: 'the disk is full', problemCode: 'exhausted' } as const;
    plane.onChange = (kind, at, verb) => {
      if (verb === 'return') plane.setStatus(kind, at, { phase: 'kept', to: { site: 'south' }, wayBack, return: journey });
    };
    const undone = await home.run(['migration', 'return', 'm']);
    expect(undone).toMatchObject({
      code: 6,
      err: expect.stringContaining('the disk is full; the instance is at south, and its way back is open'),
    });
  });
});
