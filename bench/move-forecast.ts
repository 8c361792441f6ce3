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
  type MigrationPlan,
  type MigrationSpec,
  migration,
  provider,
  site,
  workspace,
} from '@virt8ra/contract';
import { type Program, startProgram } from './program.js';
import type { Served } from './served.js';
import { makeSlowMachine, type SlowMachine } from './slow-machine.js';

/** What was forecast for one move, and what it took. */
export interface ForecastRow {
  readonly scenario: 'idle' | 'writing' | 'slow link';
  readonly foreseen: { readonly seconds: number; readonly pauseMs: number; readonly mib: number };
  readonly took: { readonly seconds: number; readonly pauseMs: number; readonly mib: number };
  /** Taken over foreseen, less one. */
  readonly deviation: { readonly seconds: number; readonly mib: number };
}

const tenant = 'default';
const place = { tenant, workspace: 'forecasts' };
const withinMs = 180_000;
const slowBytesPerSecond = 5e6;
const mib = 1024 * 1024;

/** Fills 64 MiB of its data disk with what cannot be made smaller; then rests, or writes half a MiB a second, round and round over 32 MiB of it. */
const inGuest = (writes: boolean): string => `#!/bin/sh
for path in /sys/block/vd[b-z]; do [ "$(cat $path/size)" -gt 1000000 ] && disk=/dev/\${path##*/}; done
dd if=/dev/urandom of=$disk bs=1M count=64 conv=notrunc,fsync 2>/dev/null
echo "filled: $disk" >/dev/console
at=0
while ${writes ? ':' : 'false'}; do
  dd if=/dev/urandom of=$disk bs=64k seek=$((at % 512)) count=8 conv=notrunc,fsync 2>/dev/null
  at=$((at + 8))
  usleep 1000000
done
`;

/**
 * Forecast against actual: an idle guest, one that writes, and one over a link of 5 MB/s. Every guest is planned, as users do it, and then moved. Needs
 * root for the slow link, which is left out without.
 */
export async function measureForecast(
  root: string,
  folder: string,
  { client }: Served,
  say: (text: string) => void,
): Promise<readonly ForecastRow[]> {
  const made = spawnSync(join(root, 'tools/guest/make-guest.sh'), { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(made.stderr?.trim().split('\n').at(-1) ?? 'the guest could not be made');
  const agents: Program[] = [];
  let slow: SlowMachine | undefined;
  let agentsPort = 0;
  const guests = ['idle', 'writing', 'distant'] as const;
  try {
    await client.put(provider, { name: 'bench' }, { spec: { displayName: 'Bench', legalSeat: 'ES' } });
    await client.put(account, { name: 'bench' }, { spec: { providerRef: 'providers/bench', driver: 'agent' } });
    await client.put(workspace, { tenant, name: place.workspace }, { spec: {} });
    const here = await addHost('plan-here');
    await addHost('plan-near');
    slow = await slowly();
    if (slow !== undefined) await addHost('plan-far', slow);
    await importGuest();
    for (const name of guests) await deploy(name);
    for (const name of guests) await filled(name, here);
    const rows: ForecastRow[] = [];
    rows.push(await planAndMove('idle', 'idle', 'plan-near'));
    rows.push(await planAndMove('writing', 'writing', 'plan-near'));
    if (slow !== undefined) rows.push(await planAndMove('slow link', 'distant', 'plan-far'));
    return rows;
  } finally {
    for (const name of guests) await client.delete(instance, { ...place, name }).catch(() => undefined);
    for (const name of guests)
      await until(`${name} is gone`, async () => (await client.find(instance, { ...place, name })) === undefined).catch(() => undefined);
    await Promise.all(agents.map(async (agent) => await agent.stop()));
    slow?.destroy();
  }

  async function slowly(): Promise<SlowMachine | undefined> {
    try {
      return await makeSlowMachine({ folder, serverPorts: [agentsPort], bytesPerSecond: slowBytesPerSecond });
    } catch (error) {
      say(`- a slow link not measured: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }

  /** Answers the folder that its agent keeps guests in. */
  async function addHost(name: string, machine?: SlowMachine): Promise<string> {
    await client.put(site, { name }, { spec: { accountRef: 'accounts/bench', country: 'ES', tier: 'edge' } });
    await client.put(host, { name }, { spec: { siteRef: `sites/${name}` } });
    const { url: agentsUrl, token, caSha256 } = await client.enrol(name);
    agentsPort = Number(new URL(agentsUrl).port);
    const state = join(folder, name);
    const words = [
      ...['run', '--server', agentsUrl, '--token', token, '--ca-sha256', caSha256, '--state', state, '--network', 'user'],
      ...(machine === undefined ? ['--data-address', '127.0.0.1'] : ['--data-address', machine.address, '--data-ports', machine.ports]),
    ];
    agents.push(startProgram(join(root, 'packages/agent/dist/main.js'), words, machine?.within));
    await until(`host ${name} is linked`, async () => (await client.get(host, { name })).status?.connected?.value === true);
    return state;
  }

  async function importGuest(): Promise<void> {
    const guest = JSON.parse(readFileSync(join(root, '.cache/guest/guest.json'), 'utf8')) as {
      image: string;
      sha256: string;
      bytes: number;
    };
    const address = { tenant, name: 'forecast-guest' };
    const source = { upload: { sizeBytes: guest.bytes, sha256: guest.sha256 } };
    await client.put(imageImport, address, {
      spec: { source, format: 'qcow2', cpuArchitecture: 'amd64', boot: 'BIOS', initializer: 'cloudinit-22' },
    });
    const file = join(root, '.cache/guest', guest.image);
    await client.upload(address, { sizeBytes: guest.bytes, read: (start, end) => createReadStream(file, { start, end: end - 1 }) }, {});
    await until('the image is made', async () => (await client.get(imageImport, address)).status?.phase === 'done');
  }

  async function deploy(name: string): Promise<void> {
    await client.put(
      blockStorage,
      { ...place, name },
      { spec: { skuRef: 'skus/ld500', sizeGB: 1, sourceImageRef: 'images/forecast-guest' } },
    );
    await client.put(blockStorage, { ...place, name: `${name}-data` }, { spec: { skuRef: 'skus/ld500', sizeGB: 1 } });
    await client.put(
      instance,
      { ...place, name },
      {
        extensions: { 'virt8ra.power': 'on' },
        spec: {
          zone: 'plan-here',
          skuRef: 'skus/seca.xs',
          bootVolume: { deviceRef: `block-storages/${name}` },
          dataVolumes: [{ deviceRef: `block-storages/${name}-data` }],
          userData: inGuest(name === 'writing'),
        },
      },
    );
  }

  async function filled(name: string, state: string): Promise<void> {
    await until(`${name} runs`, async () => (await client.get(instance, { ...place, name })).status?.activity?.value === 'running');
    await until('all guests have filled their disks', async () => {
      const logs = readdirSync(join(state, 'instances')).map((key) => join(state, 'instances', key, 'guest', 'serial.log'));
      return logs.filter((path) => textOf(path).includes('filled: /dev/vd')).length === guests.length;
    });
  }

  async function planAndMove(scenario: ForecastRow['scenario'], name: string, toSite: string): Promise<ForecastRow> {
    const spec: MigrationSpec = { instanceRef: `instances/${name}`, toSite, mode: 'warm', minPasses: 1 };
    let plan: MigrationPlan | undefined;
    await until(`what ${name} changes is known`, async () => {
      plan = await client.planMigration(place, { spec, measure: true });
      const changes = plan.forecast?.from.find(({ what, of }) => what === 'disk-changes' && of === `${name}-data`);
      return changes?.value !== undefined && (scenario !== 'writing' || changes.value > 0);
    });
    const forecast = plan?.forecast;
    const address = { ...place, name: `forecast-${name}` };
    await client.put(migration, address, { spec });
    let actual: NonNullable<Awaited<ReturnType<typeof read>>>['actual'];
    const read = async () => (await client.get(migration, address)).status;
    await until(`${name} is moved`, async () => {
      const status = await read();
      if (status?.phase === 'failed' || status?.phase === 'returned') throw new Error(`${name}: ${status.problem}`);
      actual = status?.actual;
      return status?.phase === 'done';
    });
    const figures = (of: { readonly durationSeconds?: number; readonly pauseMs?: number; readonly bytes?: number } | undefined) => {
      if (of?.durationSeconds === undefined || of.pauseMs === undefined || of.bytes === undefined)
        throw new Error(`${name}: a figure is missing`);
      return { seconds: round(of.durationSeconds), pauseMs: Math.round(of.pauseMs), mib: round(of.bytes / mib) };
    };
    const [foreseen, took] = [figures(forecast), figures(actual)];
    const deviation = { seconds: round(took.seconds / foreseen.seconds - 1), mib: round(took.mib / foreseen.mib - 1) };
    return { scenario, foreseen, took, deviation };
  }
}

/** How far off a forecast may be. */
export const allowedDeviation = 0.3;

export function judgeForecast(
  rows: readonly ForecastRow[],
  judge: (what: string, holds: boolean) => void,
  say: (text: string) => void,
): void {
  for (const { scenario, foreseen, took, deviation } of rows) {
    say(
      `forecast, ${scenario}: ${foreseen.seconds} s, ${foreseen.mib} MiB, pause ${foreseen.pauseMs} ms; took ${took.seconds} s, ${took.mib} MiB, pause ${took.pauseMs} ms`,
    );
    const worst = Math.max(Math.abs(deviation.seconds), Math.abs(deviation.mib));
    judge(
      `a move of a guest (${scenario}) takes what was forecast within ${Math.round(worst * 100)} % (at most 30)`,
      worst <= allowedDeviation,
    );
  }
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

async function until(what: string, look: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await look())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await rest(200, undefined);
  }
}
