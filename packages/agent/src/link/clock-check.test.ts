import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Log } from '../log.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { createTestAuthority } from '../testing/test-authority.js';
import { checkClock, clockReason } from './clock-check.js';

const hour = 3_600_000;

describe('the clock of a host that enrols', () => {
  let plane: FakeControlPlane;
  beforeAll(async () => {
    plane = await FakeControlPlane.start();
  });
  afterAll(async () => await plane.stop());

  const check = async (offsetMs: number) => {
    const told: string[] = [];
    const log: Log = { debug: () => {}, info: () => {}, warn: (message) => told.push(message), error: () => {} };
    await checkClock(new URL(plane.url), { ca: plane.authority.certificate }, log, () => Date.now() + offsetMs);
    return told;
  };

  it('may differ a little, is told of when it differs more, and refused when it differs much', async () => {
    expect(await check(0)).toEqual([]);
    expect(await check(-20_000)).toEqual(['this host’s clock differs from the control plane’s']);
    expect(await check(20_000)).toHaveLength(1);
    await expect(check(-hour)).rejects.toMatchObject({ kind: 'conflict', message: expect.stringMatching(/36\d\d s behind.*set-ntp/) });
    await expect(check(hour)).rejects.toMatchObject({ kind: 'conflict', message: expect.stringContaining('ahead of') });
  });

  it('is what is looked at when a certificate seems to be of another time', async () => {
    const authority = await createTestAuthority();
    for (const [from, word] of [
      [Date.now() + hour, 'not valid yet'],
      [Date.now() - 2 * hour, 'has expired'],
    ] as const) {
      const own = await authority.issueServer({ life: { from: new Date(from), to: new Date(from + hour) } });
      const server = createServer({ cert: own.certificate, key: own.privateKey }, (_, response) => void response.end());
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      const url = new URL(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
      const log: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
      await expect(checkClock(url, { ca: authority.certificate }, log)).rejects.toMatchObject({
        kind: 'conflict',
        message: expect.stringMatching(new RegExp(`${word}.*this host’s clock says 20.*set-ntp`)),
      });
      await new Promise((resolve) => server.close(resolve));
    }
    expect(clockReason(new Error('connection refused'))).toBeUndefined();
  });
});
