import { execFileSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand, runCommand } from '../system/run-command.js';
import { AgentProcess, testFolder } from '../testing/agent-process.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const able = process.getuid?.() === 0 && (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!able) process.stderr.write('skipped: mounting a small file system needs root, the guest QEMU\n');

const mib = 1024 * 1024;
const permit = { epoch: 1, holder: 'alpha' };

describe.skipIf(!able)('a guest on a host whose disk is full', () => {
  let plane: FakeControlPlane;
  let agent: AgentProcess;
  let folder: string;

  beforeEach(async () => {
    plane = await FakeControlPlane.start();
    folder = await testFolder();
    agent = new AgentProcess(plane, 'alpha', folder);
    mkdirSync(agent.state, { mode: 0o711 });
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=711', 'tmpfs', agent.state]);
  });
  afterEach(async (test) => {
    if (test.task.result?.state === 'fail') process.stderr.write(`--- agent log\n${agent?.log}\n`);
    plane.want('alpha', { instances: [], volumes: [] });
    await plane.until('the guest is gone', () => plane.view('alpha').instances.size === 0).catch(() => {});
    await agent.stop('SIGKILL');
    execFileSync('umount', ['-l', agent.state]);
    await agent.destroy();
    await plane.stop();
  });

  it('is paused, with what is free, and goes on by itself with nothing lost when there is room', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const instance = smallInstance('i1', 'v1', permit);
    plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [instance] });
    agent.start();
    const seen = () => plane.view('alpha').instances.get('i1');
    const counter = () => counterFrom(agent.serial('i1'));
    await plane.until('the guest counts', () => (seen()?.boot?.serialBytes ?? 0) > 20);

    const filler = join(agent.state, 'filler');
    const { bavail, bsize } = statfsSync(agent.state);
    writeFileSync(filler, Buffer.alloc(bavail * bsize - mib / 2, 1));
    const paused = await plane.until('the guest is paused', () => seen()?.state === 'paused' && seen());
    expect(paused.problem).toMatchObject({ code: 'exhausted', message: expect.stringMatching(/[\d.]+ MiB of 160\.0 MiB are free/) });
    const stood = counter();
    await agent.stop('SIGKILL');
    plane.view('alpha').instances.clear();
    agent.start();
    await plane.until('it is still paused', () => seen()?.state === 'paused' && seen()?.problem?.code === 'exhausted');
    expect(counter()).toBe(stood);

    truncateSync(filler, 0);
    rmSync(filler);
    await plane.until('it goes on', () => seen()?.state === 'running' && seen()?.problem === undefined);
    await expect.poll(counter, { timeout: 10_000 }).toBeGreaterThan(stood);
    expect(seen()?.pid).toBe(paused.pid);

    plane.want('alpha', { instances: [{ ...instance, power: 'off' }] });
    await plane.until('it is off', () => seen()?.state === 'stopped');
    const disk = join(agent.state, 'volumes', 'v1', 'base.qcow2');
    expect(await runCommand('qemu-img', ['check', '-f', 'qcow2', disk])).toContain('No errors were found');
    await runCommand('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', disk, join(folder, 'raw')]);
    const written = Number.parseInt(execFileSync('od', ['-An', '-tu4', '-j4096', '-N4', join(folder, 'raw')]).toString(), 10);
    expect(written).toBeGreaterThanOrEqual(counter());
  });
});
