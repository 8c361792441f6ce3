import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DesiredAgentRelease, type DesiredState, Problem } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { architectureName } from '../inventory/inventory.js';
import { silentLog } from '../log.js';
import type { ImageDownload } from '../storage/image-download.js';
import { mountSmallDisk, noSmallDisk } from '../testing/small-disk.js';
import { agentVersion } from '../version.js';
import { installedRelease, type ReleaseRecord, readReleaseRecord, writeReleaseRecord } from './release-record.js';
import { openUpdater, type Updater } from './updater.js';

const noDisk = noSmallDisk();
if (noDisk !== undefined) process.stderr.write(`skipped: ${noDisk}\n`);

let folder: string;
let state: string;
let tarball: string;
let updater: Updater | undefined;
let umount: (() => void) | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8release-'));
  state = join(folder, 'state');
  mkdirSync(state);
});
afterEach(async () => {
  await updater?.stop();
  umount?.();
  umount = undefined;
  rmSync(folder, { recursive: true, force: true });
});

/** The tarball of a release that only says which it is. */
function make(version: string, change: object = {}, ballast = 0): { readonly sha256: string; readonly bytes: number } {
  const top = join(folder, 'made');
  rmSync(top, { recursive: true, force: true });
  mkdirSync(join(top, 'bin'), { recursive: true });
  const manifest = { product: 'virt8ra-agent', version, architecture: architectureName(), build: version, ...change };
  writeFileSync(join(top, 'RELEASE.json'), JSON.stringify(manifest));
  writeFileSync(join(top, 'ballast'), Buffer.alloc(ballast));
  writeFileSync(join(top, 'bin', 'virt8ra-agent'), '#!/bin/sh\n');
  chmodSync(join(top, 'bin', 'virt8ra-agent'), 0o755);
  tarball = join(folder, `${version}.tar.gz`);
  execFileSync('tar', ['--sort=name', '-czf', tarball, '-C', folder, 'made']);
  const content = readFileSync(tarball);
  return { sha256: createHash('sha256').update(content).digest('hex'), bytes: content.length };
}

function orderOf(version: string, artifact: { readonly sha256: string; readonly bytes: number }): DesiredAgentRelease {
  return { order: randomBytes(6).toString('hex'), version, ...artifact, trialSeconds: 30 };
}

const desired = (agentRelease: DesiredAgentRelease): DesiredState => ({
  generation: 1,
  networks: [],
  volumes: [],
  instances: [],
  transfers: [],
  agentRelease,
});

interface Told {
  readonly release?: string;
  readonly fetch?: (image: ImageDownload) => Promise<void>;
  readonly preflight?: (program: string) => Promise<string>;
}

async function open(told: Told = {}): Promise<Updater> {
  updater = await openUpdater({
    stateDirectory: state,
    release: told.release ?? installedRelease,
    installed: { version: agentVersion, build: 'b1' },
    fetch: told.fetch ?? (async ({ root, sha256 }) => copyFileSync(tarball, join(root, sha256))),
    preflight:
      told.preflight ??
      (async (program) => (JSON.parse(readFileSync(join(program, '../../RELEASE.json'), 'utf8')) as { version: string }).version),
    report: () => {},
    log: silentLog,
    retryMs: 10,
  });
  return updater;
}

const phaseOf = ({ facts }: Updater): string | undefined => facts().order?.phase;
const failed = async (opened: Updater, order: DesiredAgentRelease): Promise<string> => {
  await opened.follow(desired(order));
  await expect.poll(() => phaseOf(opened), { timeout: 20_000 }).toBe('failed');
  return opened.facts().order?.problem?.message ?? '';
};
const there = (): string[] => readdirSync(join(state, 'releases')).toSorted();

describe('an order to run another release', () => {
  it('is prepared whole before anything gives way, and is settled by the release itself', async () => {
    const artifact = make('0.2.0');
    const order = orderOf('0.2.0', artifact);
    const name = `0.2.0-${artifact.sha256.slice(0, 12)}`;
    let cuts = 2;
    const before = await open({
      fetch: async ({ root, sha256 }) => {
        cuts -= 1;
        if (cuts >= 0) throw new Problem('unavailable', 'the link is down');
        copyFileSync(tarball, join(root, sha256));
      },
    });
    await before.follow(desired(order));
    await before.switching;
    expect(before.facts()).toMatchObject({
      running: { version: agentVersion, release: 'installed' },
      order: { version: '0.2.0', phase: 'trying' },
    });
    const record = await readReleaseRecord(state);
    expect(record).toMatchObject({ current: 'installed', trial: { release: name, starts: 0, seconds: 30 } });
    await before.stop();

    const after = await open({ release: name });
    expect(phaseOf(after)).toBe('trying');
    await after.follow(desired(order));
    expect(after.facts()).toMatchObject({
      running: { release: name },
      previous: { version: agentVersion, release: 'installed' },
      order: { phase: 'done' },
    });
    expect(await readReleaseRecord(state)).toMatchObject({ current: name, previous: 'installed', finished: [{ order: order.order }] });
    expect(there()).toEqual([name, 'record.json']);

    // Heard again it is not begun again; another order for the same is over at once.
    await after.follow(desired(order));
    const again = orderOf('0.2.0', artifact);
    await after.follow(desired(again));
    await expect.poll(() => after.facts().order).toMatchObject({ order: again.order, phase: 'done' });
  });

  it('comes to nothing, with the reason, where it is not what was announced, and is not begun again unless it is told again', async () => {
    const opened = await open();
    expect(await failed(opened, orderOf('0.2.0', make('0.3.0')))).toBe('release 0.2.0 was not tried: it is 0.3.0, not 0.2.0');
    expect(await failed(opened, orderOf('0.2.0', make('0.2.0', { product: 'other' })))).toContain('not a release of the agent');
    expect(await failed(opened, orderOf('0.2.0', make('0.2.0', { architecture: 'sparc' })))).toContain('it is for sparc');
    const artifact = make('0.2.0');
    writeFileSync(tarball, 'not an archive');
    const damaged = orderOf('0.2.0', artifact);
    expect(await failed(opened, damaged)).toContain('it cannot be unpacked');
    expect(there()).toEqual(['record.json']);
    await opened.stop();

    let fetched = 0;
    const later = await open({
      fetch: async () => {
        fetched += 1;
      },
    });
    await later.follow(desired(damaged));
    expect(fetched).toBe(0);
    expect(later.facts()).toMatchObject({ order: { phase: 'failed' }, lastFailed: { version: '0.2.0' } });
  });

  it('comes to nothing where the release says that it cannot take over', async () => {
    const opened = await open({
      preflight: async () => {
        throw new Problem('unsupported', 'it cannot run here: it cannot read the ledger');
      },
    });
    expect(await failed(opened, orderOf('0.2.0', make('0.2.0')))).toBe(
      'release 0.2.0 was not tried: it cannot run here: it cannot read the ledger',
    );
    expect((await readReleaseRecord(state))?.trial).toBeUndefined();
  });

  it('gives way to a newer order', async () => {
    const opened = await open({ fetch: async () => await Promise.reject(new Problem('unavailable', 'the link is down')) });
    const first = orderOf('0.2.0', make('0.2.0'));
    await opened.follow(desired(first));
    await expect.poll(() => opened.facts().order?.problem?.message).toBe('the link is down');
    const second = orderOf('0.3.0', make('0.3.0'));
    await opened.follow(desired(second));
    await expect.poll(() => opened.facts().order?.order).toBe(second.order);
  });

  it.skipIf(noDisk !== undefined)('comes to nothing on a full disk, which is left as it was', async () => {
    umount = mountSmallDisk(state, 8 * 1024 * 1024);
    const opened = await open();
    const message = await failed(opened, orderOf('0.2.0', make('0.2.0', {}, 64 * 1024 * 1024)));
    expect(message).toContain('are free');
    expect(opened.facts().order?.problem?.code).toBe('exhausted');
    expect(there()).toEqual(['record.json']);
  });

  it('goes on from a record that another release has left, and drops what nobody needs', async () => {
    const record: ReleaseRecord = {
      version: 1,
      installed: { version: agentVersion, build: 'b1' },
      current: '0.2.0-aaaaaaaaaaaa',
      since: '2026-01-01T00:00:00.000Z',
      previous: 'installed',
      finished: [],
    };
    await writeReleaseRecord(state, record);
    for (const name of ['0.2.0-aaaaaaaaaaaa', '0.1.9-bbbbbbbbbbbb', '0.3.0-cccccccccccc.unpacking'])
      mkdirSync(join(state, 'releases', name));
    const opened = await open({ release: '0.2.0-aaaaaaaaaaaa' });
    expect(there()).toEqual(['0.2.0-aaaaaaaaaaaa', 'record.json']);
    expect(opened.facts()).toEqual({
      running: { version: agentVersion, release: '0.2.0-aaaaaaaaaaaa', since: record.since },
      previous: { version: agentVersion, release: 'installed' },
    });
  });
});
