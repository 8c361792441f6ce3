import { spawnSync } from 'node:child_process';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rest } from '@virt8ra/client';
import {
  account,
  blockStorage,
  host,
  imageImport,
  instance,
  migration,
  network,
  nic,
  provider,
  site,
  subnet,
  workspace,
} from '@virt8ra/contract';
import { type Program, startProgram } from './program.js';
import { keepMachine, moveByQemuAlone } from './raw-move.js';
import type { Served } from './served.js';
import { rounded } from './timing.js';

export interface LivePause {
  readonly rounds: number;
  /** Median of what the source's agent measured: guest stopped → seen to run at the target. */
  readonly oursMs: number;
  /** Median of the same by QEMU alone. */
  readonly qemuMs: number;
  readonly ratio: number;
}

const tenant = 'default';
const place = { tenant, workspace: 'bench' };
const guest = { ...place, name: 'guest' };
const hosts = ['live-1', 'live-2'] as const;
const withinMs = 120_000;

/**
 * How long a guest stands still in a live move, and in one that QEMU alone does with the same machine and disks on the same host: in turn, after one
 * round of each that does not count. Raises when a guest cannot be made here.
 */
export async function measureLivePause(root: string, folder: string, { client }: Served, rounds: number): Promise<LivePause> {
  const made = spawnSync(join(root, 'tools/guest/make-guest.sh'), { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(made.stderr?.trim().split('\n').at(-1) ?? 'the guest could not be made');
  const agents: Program[] = [];
  try {
    await client.put(provider, { name: 'bench' }, { spec: { displayName: 'Bench', legalSeat: 'ES' } });
    await client.put(account, { name: 'bench' }, { spec: { providerRef: 'providers/bench', driver: 'agent' } });
    for (const name of hosts) {
      await client.put(site, { name }, { spec: { accountRef: 'accounts/bench', country: 'ES', tier: 'edge' } });
      await client.put(host, { name }, { spec: { siteRef: `sites/${name}` } });
      const { url, token, caSha256 } = await client.enrol(name);
      agents.push(
        startProgram(join(root, 'packages/agent/dist/main.js'), [
          ...['run', '--server', url, '--token', token, '--ca-sha256', caSha256],
          ...['--state', join(folder, name), '--network', 'user', '--data-address', '127.0.0.1'],
        ]),
      );
    }
    await deploy();
    const machine = keepMachine(commandOfGuest(), join(folder, 'kept'));
    const ours: number[] = [];
    const raw: number[] = [];
    let at = await placeOfGuest();
    for (let round = 0; round <= rounds; round += 1) {
      const qemu = await moveByQemuAlone(machine, join(folder, 'raw'), async (serial) => await booted(serial));
      const to = hosts.find((name) => name !== at) ?? hosts[0];
      const pause = await move(`m${round}`, to);
      at = to;
      if (round === 0) continue;
      ours.push(pause);
      raw.push(qemu);
    }
    const [oursMs, qemuMs] = [rounded(median(ours)), rounded(median(raw))];
    return { rounds, oursMs, qemuMs, ratio: rounded(oursMs / qemuMs) };
  } finally {
    await client.act(instance, guest, 'stop').catch(() => undefined);
    await client.delete(instance, guest).catch(() => undefined);
    await until('the guest is gone', async () => (await client.find(instance, guest)) === undefined).catch(() => undefined);
    await Promise.all(agents.map(async (agent) => await agent.stop()));
  }

  async function deploy(): Promise<void> {
    for (const name of hosts)
      await until(`host ${name} is linked`, async () => (await client.get(host, { name })).status?.connected?.value === true);
    const { image, sha256, bytes } = JSON.parse(readFileSync(join(root, '.cache/guest/guest.json'), 'utf8')) as {
      image: string;
      sha256: string;
      bytes: number;
    };
    const address = { tenant, name: 'guest' };
    const source = { upload: { sizeBytes: bytes, sha256 } };
    await client.put(imageImport, address, {
      spec: { source, format: 'qcow2', cpuArchitecture: 'amd64', boot: 'BIOS', initializer: 'cloudinit-22' },
    });
    const file = join(root, '.cache/guest', image);
    await client.upload(address, { sizeBytes: bytes, read: (start, end) => createReadStream(file, { start, end: end - 1 }) }, {});
    await until('the image is made', async () => (await client.get(imageImport, address)).status?.phase === 'done');
    await client.put(workspace, { tenant, name: place.workspace }, { spec: {} });
    await until('the workspace is active', async () => {
      const { status } = await client.get(workspace, { tenant, name: place.workspace });
      return status?.state === 'active';
    });
    await client.put(network, { ...place, name: 'net' }, { spec: { cidr: { ipv4: '10.98.0.0/16' }, skuRef: 'skus/n1k' } });
    await client.put(subnet, { ...place, network: 'net', name: 'all' }, { spec: { cidr: { ipv4: '10.98.1.0/24' } } });
    await client.put(nic, guest, { spec: { addresses: ['0.0.0.0'], subnetRef: 'networks/net/subnets/all' } });
    await client.put(blockStorage, guest, { spec: { skuRef: 'skus/rd100', sizeGB: 1, sourceImageRef: 'images/guest' } });
    await client.put(instance, guest, {
      extensions: { 'virt8ra.power': 'on' },
      spec: { zone: hosts[0], skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/guest' }, primaryNicRef: 'nics/guest' },
    });
    await until('the guest runs', async () => (await client.get(instance, guest)).status?.activity?.value === 'running');
    await booted(join(folder, await placeOfGuest(), 'instances', keyOfGuest(await placeOfGuest()), 'guest', 'serial.log'));
  }

  function keyOfGuest(name: string): string {
    return readdirSync(join(folder, name, 'instances'))[0] ?? '';
  }

  async function placeOfGuest(): Promise<string> {
    return (await client.get(instance, guest)).status?.placement?.host ?? '';
  }

  async function move(name: string, to: string): Promise<number> {
    const address = { ...place, name };
    await client.put(migration, address, { spec: { instanceRef: 'instances/guest', toSite: to, mode: 'live' } });
    let pauseMs: number | undefined;
    await until(`move ${name} is done`, async () => {
      const { status } = await client.get(migration, address);
      if (status?.phase === 'failed' || status?.phase === 'returned') throw new Error(`move ${name}: ${status.problem}`);
      pauseMs = status?.pauseMs;
      return status?.phase === 'done';
    });
    if (pauseMs === undefined) throw new Error(`move ${name} was not measured`);
    return pauseMs;
  }

  function commandOfGuest(): readonly string[] {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      const words = commandOf(pid);
      if (words[0]?.includes('qemu-system') === true && words.some((word) => word.includes(`${folder}/`))) return words;
    }
    throw new Error('the guest has no process');
  }
}

function commandOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  } catch {
    return [];
  }
}

/** The guest's own word on its console, and a little time for what its boot still does. */
async function booted(serial: string): Promise<void> {
  await until('the guest has booted', async () => {
    try {
      return /# /.test(readFileSync(serial, 'utf8'));
    } catch {
      return false;
    }
  });
  await rest(1_000, undefined);
}

async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await rest(50, undefined);
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
