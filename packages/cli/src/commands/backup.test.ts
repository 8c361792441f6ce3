import { startTestControlPlane, type TestControlPlane } from '@virt8ra/client/testing';
import { backup, blockStorage, instance } from '@virt8ra/contract';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { buildCli, createHome, type Home } from '../testing/run-cli.js';

let plane: TestControlPlane;
let home: Home;
const inW = (name: string) => ({ tenant: 't', workspace: 'w', name });
const volume = (name: string, sizeBytes: number) => ({
  blockStorageRef: { resource: `seca.storage/v1/tenants/t/workspaces/w/block-storages/${name}` },
  sizeBytes,
  sha256: 'a'.repeat(64),
  fileBytes: 1_000_000,
});

beforeAll(buildCli, 120_000);
beforeEach(async () => {
  plane = await startTestControlPlane();
  home = createHome(plane);
});
afterEach(async () => {
  await plane.stop();
  home.remove();
});

describe('backup', () => {
  it('follows a backup to its end and says of what moment it is', async () => {
    plane.onChange = (kind, address, verb) => {
      if (kind !== backup || verb !== 'put') return;
      plane.setStatus(kind, address, {
        phase: 'done',
        takenAt: '2026-03-01T00:00:00Z',
        consistency: 'file-system',
        volumes: [volume('root', 2e9)],
      });
    };
    const done = await home.run(['backup', 'web', '--name', 'first']);
    expect(done).toMatchObject({ code: 0, out: expect.stringContaining('of 2026-03-01T00:00:00Z, file systems at rest') });
    expect(plane.get(backup, inW('first'))?.spec).toEqual({ instanceRef: 'instances/web' });
    expect((await home.run(['backup', 'disk/data', '--name', 'second', '--detach'])).code).toBe(0);
    expect(plane.get(backup, inW('second'))?.spec).toEqual({ blockStorageRef: 'block-storages/data' });
    expect((await home.run(['backup', 'network/lan'])).code).toBe(2);
  });

  it('ends with the reason, and 6 for lack of room, when it comes to nothing', async () => {
    plane.onChange = (kind, address) =>
      plane.setStatus(kind, address, { phase: 'failed', problem: 'its disk is full', problemCode: 'exhausted' });
    expect(await home.run(['backup', 'web'])).toMatchObject({ code: 6, err: expect.stringContaining('its disk is full') });
  });
});

describe('restore', () => {
  it('makes a block storage like the original from one disk of a backup', async () => {
    plane.set(backup, inW('first'), { spec: { instanceRef: 'instances/web' } });
    plane.setStatus(backup, inW('first'), { phase: 'done', takenAt: 'then', volumes: [volume('root', 2e9), volume('data', 5.1e9)] });
    plane.set(blockStorage, inW('root'), { spec: { sizeGB: 3, skuRef: 'skus/D' } });
    expect(await home.run(['restore', 'first', '--as', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('first/root, first/data'),
    });
    expect((await home.run(['restore', 'first/root', '--as', 'again', '--site', 'north'])).code).toBe(0);
    expect(plane.get(blockStorage, inW('again'))).toMatchObject({
      spec: { sizeGB: 3, skuRef: 'skus/D' },
      extensions: { 'virt8ra.backup': 'first/root', 'virt8ra.site': 'north' },
    });
    expect(await home.run(['restore', 'first/data', '--as', 'y'])).toMatchObject({ code: 2, err: expect.stringContaining('--sku') });
    expect((await home.run(['restore', 'first/data', '--as', 'y', '--sku', 'E', '--size', '8'])).code).toBe(0);
    expect(plane.get(blockStorage, inW('y'))?.spec).toEqual({ sizeGB: 8, skuRef: 'skus/E' });
  });

  it('makes an instance with all disks of a backup, set up as the original, and may be repeated', async () => {
    plane.set(backup, inW('first'), { spec: { instanceRef: 'instances/web' } });
    plane.setStatus(backup, inW('first'), { phase: 'done', takenAt: 'then', volumes: [volume('root', 2e9), volume('data', 5e9)] });
    for (const name of ['root', 'data']) plane.set(blockStorage, inW(name), { spec: { sizeGB: 3, skuRef: 'skus/D' } });
    const spec = {
      zone: 'any',
      skuRef: 'skus/S',
      bootVolume: { deviceRef: 'block-storages/root' },
      primaryNicRef: 'nics/web',
      sshKeys: ['k'],
    };
    plane.set(instance, inW('web'), { spec, extensions: { 'virt8ra.power': 'on', 'virt8ra.access': '22' } });
    const made = await home.run(['restore', 'first', '--as-instance', 'copy']);
    expect(made).toMatchObject({ code: 0, out: expect.stringContaining('virt8ra start copy'), err: expect.stringContaining('no NIC') });
    expect(plane.get(instance, inW('copy'))).toMatchObject({
      spec: {
        zone: 'any',
        skuRef: 'skus/S',
        bootVolume: { deviceRef: 'block-storages/copy-root' },
        dataVolumes: [{ deviceRef: 'block-storages/copy-data' }],
        sshKeys: ['k'],
      },
      extensions: { 'virt8ra.power': 'off', 'virt8ra.access': '22' },
    });
    expect(plane.get(blockStorage, inW('copy-data'))).toMatchObject({ extensions: { 'virt8ra.backup': 'first/data' } });
    const puts = () => plane.seen.filter(({ method }) => method === 'PUT').length;
    const before = puts();
    expect((await home.run(['restore', 'first', '--as-instance', 'copy'])).code).toBe(0);
    expect(puts()).toBe(before);
    expect(await home.run(['restore', 'first', '--as-instance', 'web'])).toMatchObject({
      code: expect.any(Number),
      err: expect.stringContaining('give another name'),
    });
    expect((await home.run(['restore', 'first/root', '--as-instance', 'x'])).code).toBe(2);
    expect((await home.run(['restore', 'first'])).code).toBe(2);
  });

  it('asks for the size of an instance whose original has gone', async () => {
    plane.set(backup, inW('first'), { spec: { instanceRef: 'instances/gone' } });
    plane.setStatus(backup, inW('first'), { phase: 'done', takenAt: 'then', volumes: [volume('root', 2e9)] });
    expect(await home.run(['restore', 'first', '--as-instance', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--instance-sku'),
    });
    expect(
      (await home.run(['restore', 'first', '--as-instance', 'x', '--instance-sku', 'S', '--sku', 'D', '--nic', 'n', '--start'])).code,
    ).toBe(0);
    expect(plane.get(instance, inW('x'))).toMatchObject({
      spec: { skuRef: 'skus/S', primaryNicRef: 'nics/n' },
      extensions: { 'virt8ra.power': 'on' },
    });
  });
});
