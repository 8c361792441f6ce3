import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DesiredState, type HostInventory, Problem } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Board } from '../desired/board.js';
import { silentLog } from '../log.js';
import { FakeControlPlane } from '../testing/fake-control-plane.js';
import { createTestAuthority } from '../testing/test-authority.js';
import { enrol, renewalTime } from './enrol.js';
import { type Identity, openIdentityStore } from './identity.js';
import { type Link, openLink } from './link.js';
import { keepRenewed } from './renewal.js';

const inventory: HostInventory = {
  hostname: 'alpha',
  bootId: 'boot',
  architecture: 'amd64',
  kernel: '6.1',
  cpu: { model: 'x', cores: 1, threads: 1, numaCells: 1 },
  memoryMiB: 1,
  memoryAvailableMiB: 1,
  storage: { totalBytes: 1, freeBytes: 1 },
  nics: [],
  gpus: [],
  hypervisor: { qemuVersion: null, accelerator: 'tcg', reason: 'none', machines: [], cpuModels: [] },
  network: { mode: 'user', reason: 'test' },
  capacity: { vCPU: 1, memoryMiB: 1, storageBytes: 1 },
  agent: { version: '0', rssMiB: 1, uptimeSeconds: 1 },
};

let plane: FakeControlPlane;
let folder: string;
let link: Link | undefined;
const state = () => join(folder, 'state');
const enrolHost = async (host = 'alpha'): Promise<Identity> =>
  await enrol(
    { server: new URL(plane.url), token: plane.token(host), caSha256: plane.authority.sha256 },
    openIdentityStore(state()),
    silentLog,
  );

beforeEach(async () => {
  plane = await FakeControlPlane.start();
  folder = mkdtempSync(join(tmpdir(), 'v8l-'));
});
afterEach(async () => {
  await link?.stop();
  link = undefined;
  await plane.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe('enrolment', () => {
  it('exchanges the token for a certificate of this host’s own key, and keeps both private', async () => {
    const identity = await enrolHost();
    expect(identity).toMatchObject({ host: 'alpha', site: 'here', name: 'alpha.agents.virt8ra.internal', server: plane.url });
    expect(await openIdentityStore(state()).load()).toEqual(identity);
    expect(statSync(join(state(), 'identity', 'key.pem')).mode & 0o777).toBe(0o600);
    expect(statSync(join(state(), 'identity', 'identity.json')).mode & 0o777).toBe(0o600);
  });

  it('sends nothing to a server whose chain has not the expected CA', async () => {
    const token = plane.token('alpha');
    const stranger = await createTestAuthority();
    const attempt = enrol({ server: new URL(plane.url), token, caSha256: stranger.sha256 }, openIdentityStore(state()), silentLog);
    await expect(attempt).rejects.toMatchObject({ kind: 'unauthorized', message: expect.stringContaining('--ca-sha256') });
    expect(plane.tokens.has(token)).toBe(true);
    expect(existsSync(join(state(), 'identity', 'identity.json'))).toBe(false);
  });

  it('passes on the server’s refusal of a used token, and says when nobody listens', async () => {
    const token = plane.token('alpha');
    const ask = async (server: string) =>
      await enrol({ server: new URL(server), token, caSha256: plane.authority.sha256 }, openIdentityStore(state()), silentLog);
    await ask(plane.url);
    await expect(ask(plane.url)).rejects.toMatchObject({ kind: 'unauthorized', message: 'the token is unknown or used' });
    await expect(ask('https://127.0.0.1:9')).rejects.toMatchObject({ kind: 'unavailable', exitCode: 8 });
  });

  it('renews from half-life on, with the same key', async () => {
    plane.life = { from: new Date(Date.now() - 60_000), to: new Date(Date.now() + 30_000) };
    const first = await enrolHost();
    expect(renewalTime(first.certificate)).toBeLessThan(Date.now());
    plane.life = undefined;
    const renewed = await new Promise<Identity>((resolve) => {
      const stop = keepRenewed(
        () => first,
        openIdentityStore(state()),
        (identity) => {
          stop();
          resolve(identity);
        },
        silentLog,
      );
    });
    expect(renewed.certificate).not.toBe(first.certificate);
    expect(renewed.privateKey).toBe(first.privateKey);
    expect((await openIdentityStore(state()).load())?.certificate).toBe(renewed.certificate);
  });

  it('comes back with a certificate that expired while the host was away', async () => {
    const hour = 3_600_000;
    plane.life = { from: new Date(Date.now() - 3 * hour), to: new Date(Date.now() - hour) };
    let self = await enrolHost();
    plane.life = undefined;
    link = openLink({
      identity: () => self,
      bootId: 'boot',
      board: new Board(),
      features: [],
      generation: () => 0,
      told: () => ({ epoch: null, state: { generation: 0, networks: [], volumes: [], instances: [], transfers: [] } }),
      accept: async () => {},
      inventory: async () => inventory,
      log: silentLog,
      openStream: () => {},
      backoffMs: { least: 10, most: 50 },
    });
    const store = openIdentityStore(state());
    const stop = keepRenewed(
      () => self,
      store,
      (renewed) => {
        self = renewed;
      },
      silentLog,
    );
    await plane.until('it is linked', () => plane.view('alpha').inventory !== undefined);
    stop();
    expect(plane.renewals).toBe(1);
    expect((await store.load())?.certificate).toBe(self.certificate);
  });

  it('keeps asking when its renewal is refused, and uses what it has', async () => {
    const identity = await enrolHost();
    const far = Date.parse('2100-01-01');
    plane.revoked.add('alpha');
    let renewed = 0;
    let stop = (): void => {};
    const refused = new Promise<string>((resolve) => {
      stop = keepRenewed(
        () => identity,
        openIdentityStore(state()),
        () => {
          renewed += 1;
        },
        { ...silentLog, warn: resolve },
        () => far,
      );
    });
    expect(await refused).toBe('the certificate could not be renewed');
    stop();
    expect(renewed).toBe(0);
    expect((await openIdentityStore(state()).load())?.certificate).toBe(identity.certificate);
  });
});

describe('the link', () => {
  const dial = async (board: Board, accepted: [string, DesiredState][] = []) => {
    const identity = await enrolHost();
    let generation = 0;
    link = openLink({
      identity: () => identity,
      bootId: 'boot-1',
      features: ['filters'],
      board,
      generation: () => generation,
      told: () => ({ epoch: null, state: { generation: 0, networks: [], volumes: [], instances: [], transfers: [] } }),
      accept: async (epoch, desired) => {
        if (desired.generation === 666) throw new Problem('internal', 'disk full');
        generation = desired.generation;
        accepted.push([epoch, desired]);
      },
      inventory: async () => inventory,
      openStream: () => {},
      log: silentLog,
      backoffMs: { least: 20, most: 100 },
    });
    await plane.until('the first full observation', () => plane.view('alpha').fulls > 0);
    return link;
  };
  const network = (key: string) => ({ key, state: 'ready', mode: 'user' }) as const;

  it('greets, tells inventory and everything on the board, then only changes', async () => {
    const board = new Board();
    board.post('network', 'n1', network('n1'));
    await dial(board);
    const view = plane.view('alpha');
    expect(view.hello).toMatchObject({ host: 'alpha', bootId: 'boot-1', protocols: [1], generation: 0 });
    await plane.until('the inventory', () => view.inventory);
    expect([...view.networks.keys()]).toEqual(['n1']);
    board.post('network', 'n2', network('n2'));
    await plane.until('the change', () => view.networks.has('n2'));
    expect(view.fulls).toBe(1);
    board.remove({ type: 'network', key: 'n1' });
    await plane.until('the removal', () => !view.networks.has('n1'));
    expect(view.fulls).toBe(2);
    expect(plane.faults).toEqual([]);
  });

  it('waits longer each time for a control plane whose desired state it does not understand, and says which part of it', async () => {
    const identity = await enrolHost();
    const desired = { generation: 1, networks: [], volumes: [], instances: [], transfers: [{ id: 'Not an id' }] };
    plane.wantExactly('alpha', desired as unknown as DesiredState);
    const told: { readonly reason: string; readonly attempts: number }[] = [];
    const note = (message: string, facts?: object) => {
      if (message === 'the link is down') told.push(facts as (typeof told)[number]);
    };
    let accepted = 0;
    link = openLink({
      identity: () => identity,
      bootId: 'boot-1',
      features: [],
      board: new Board(),
      generation: () => 0,
      told: () => ({ epoch: null, state: { generation: 0, networks: [], volumes: [], instances: [], transfers: [] } }),
      accept: async () => {
        accepted += 1;
      },
      inventory: async () => inventory,
      openStream: () => {},
      log: { ...silentLog, info: note, debug: note },
      backoffMs: { least: 1, most: 20 },
    });
    await expect.poll(() => told.map(({ attempts }) => attempts).slice(0, 4)).toEqual([1, 2, 3, 4]);
    expect(told[0]?.reason).toMatch(/desired\/state\/transfers\/0/);
    plane.wantExactly('alpha', { ...desired, transfers: [] });
    await expect.poll(() => accepted).toBeGreaterThan(0);
    plane.cut('alpha');
    await expect.poll(() => told.at(-1)?.attempts).toBe(1);
  });

  it('takes over desired states in order and answers each with a full observation of its generation', async () => {
    const accepted: [string, DesiredState][] = [];
    await dial(new Board(), accepted);
    plane.want('alpha', {});
    plane.want('alpha', {});
    await plane.until('generation 2', () => plane.view('alpha').generation === 2);
    expect(accepted.map(([epoch, { generation }]) => [epoch, generation])).toEqual([
      ['epoch-1', 1],
      ['epoch-1', 2],
    ]);
  });

  it('comes back after a cut, a frame it does not know, and a state it could not keep', async () => {
    await dial(new Board());
    const view = plane.view('alpha');
    const again = async (count: number) =>
      await plane.until(`connection ${count}`, () => view.connections === count && view.fulls >= count);
    plane.cut('alpha');
    await again(2);
    plane.send('alpha', { type: 'dance' });
    await again(3);
    plane.wantExactly('alpha', { generation: 666, networks: [], volumes: [], instances: [], transfers: [] });
    await plane.until('it hangs up rather than pretending', () => view.connections >= 4);
    plane.wantExactly('alpha', { generation: 1, networks: [], volumes: [], instances: [], transfers: [] });
    await plane.until('the good state arrives', () => view.generation === 1);
  });

  it('drops a link that has gone silent', async () => {
    plane.silenceSeconds = 1;
    plane.mute = true;
    await dial(new Board());
    await plane.until('a second connection', () => plane.view('alpha').connections === 2, 5_000);
  });

  it('sends bursts of details as few frames, and progress once a second', async () => {
    const board = new Board();
    const opened = await dial(board);
    const view = plane.view('alpha');
    const frames = view.frames;
    const transfer = { id: 't1', role: 'send', state: 'copying', passes: 0, resentBytes: 0, chunkBytes: 1, streams: 1 } as const;
    for (let bytes = 0; bytes < 500; bytes += 1) {
      board.post('transfer', 't1', { ...transfer, bytes });
      opened.progress({ transferId: 't1', phase: 'copy', pass: 0, bytes, totalBytes: 500, bytesPerSecond: 1, etaSeconds: null });
    }
    await plane.until('the last byte', () => view.transfers.get('t1')?.bytes === 499);
    await plane.until('the last progress', () => view.progress.at(-1)?.bytes === 499);
    expect(view.frames - frames).toBeLessThan(6);
  });
});
