import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseConfig, type RunningAgent, silentLog, startAgent } from '@virt8ra/agent';
import type { Enrolment } from '@virt8ra/contract';
import { hasPostgres } from '@virt8ra/engine/testing';
import { type Answer, type ControlPlane, startControlPlane } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
const lacks = [
  ...['/usr/bin/qemu-system-x86_64', '/usr/bin/qemu-img', join(root, '.cache/guest/guest.json')].filter((path) => !existsSync(path)),
  ...((await hasPostgres('debian')) || (await hasPostgres('embedded')) ? [] : ['PostgreSQL']),
];
if (lacks.length > 0) process.stdout.write(`skipped: ${lacks.join(', ')} missing\n`);

const topology = '/providers/virt8ra.topology/v1beta1';
const tenant = 'tenants/default';
const workspace = `${tenant}/workspaces/shop`;
const disks = `/providers/seca.storage/v1/${workspace}/block-storages`;
const instances = `/providers/seca.compute/v1/${workspace}/instances`;
const backups = `/providers/virt8ra.backup/v1beta1/${workspace}/backups`;
const imports = `/providers/virt8ra.image/v1beta1/${tenant}/image-imports`;

/** Tells of its disks whenever they change; a data disk without a mark gets one. */
const watchDisks = `#!/bin/sh
seen=
while :; do
  now=
  for path in /sys/block/vd[b-z]; do
    [ -e "$path" ] || continue
    size=$(cat "$path/size")
    [ "$size" -gt 1000000 ] && now="$now \${path##*/}:$size"
  done
  if [ "$now" != "$seen" ]; then
    seen=$now
    echo "disks:$now." >/dev/console
    for disk in $now; do
      device=/dev/\${disk%:*}
      mark=$(dd if=$device bs=16 count=1 2>/dev/null | tr -d '\\000')
      if [ -z "$mark" ]; then
        printf 'marked-by-first!' | dd of=$device bs=16 count=1 conv=notrunc,fsync 2>/dev/null && echo "wrote $device" >/dev/console
      else
        echo "found $mark on $device" >/dev/console
      fi
    done
  fi
  usleep 200000
done
`;

interface Seen {
  readonly status?: {
    readonly state?: string;
    readonly phase?: string;
    readonly sizeGB?: number;
    readonly volumes?: readonly { readonly deviceRef?: { readonly resource: string }; readonly state?: string; readonly sha256?: string }[];
    readonly activity?: { readonly value: string };
    readonly conditions: readonly object[];
  };
}
const statusOf = ({ body }: Answer) => (body as Seen | undefined)?.status;

/** A real control plane, a real agent and a guest with an operating system. */
describe.skipIf(lacks.length > 0)('the disks of a guest with an operating system', () => {
  let plane: ControlPlane;
  let agent: RunningAgent;
  let folder: string;

  const put = async (path: string, spec: unknown, extensions?: Record<string, string>): Promise<void> => {
    const answer = await plane.call('PUT', path, { spec, ...(extensions === undefined ? {} : { extensions }) });
    if (answer.status !== 200 && answer.status !== 201) throw new Error(`PUT ${path}: ${JSON.stringify(answer.body)}`);
  };
  /** What the guest of the instance that was made first, second, … wrote to its console. */
  const consoles = (): string[] =>
    readdirSync(join(folder, 'state', 'instances'))
      .sort()
      .map((key) => join(folder, 'state', 'instances', key, 'guest', 'serial.log'))
      .map((path) => (existsSync(path) ? readFileSync(path, 'utf8') : ''));
  const untilSaid = async (guest: number, text: RegExp, timeoutMs = 120_000): Promise<string> => {
    const end = Date.now() + timeoutMs;
    for (;;) {
      const found = text.exec(consoles()[guest] ?? '')?.[0];
      if (found !== undefined) return found;
      if (Date.now() > end) throw new Error(`guest ${guest} never said ${text}: ${consoles()[guest]?.slice(-2000)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  const settled = (answer: Answer): boolean => statusOf(answer)?.state === 'active';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'v8v-'));
    await chmod(folder, 0o711);
    plane = await startControlPlane();
    await put(`${topology}/providers/test`, { displayName: 'Test', legalSeat: 'PL' });
    await put(`${topology}/accounts/test`, { providerRef: 'providers/test', driver: 'agent' });
    await put(`${topology}/sites/here`, { accountRef: 'accounts/test', country: 'PL', tier: 'edge' });
    await put(`${topology}/hosts/alpha`, { siteRef: 'sites/here' });
    const { body } = await plane.call('POST', `${topology}/hosts/alpha/enrol`);
    const { token, caSha256, url } = body as Enrolment;
    const given = {
      server: url,
      token,
      'ca-sha256': caSha256,
      state: join(folder, 'state'),
      network: 'user',
      'reserve-storage-gib': '0',
      'shutdown-seconds': '2',
    };
    const config = parseConfig(given, { VIRT8RA_AGENT_RUNTIME: join(folder, 'run') }, () => '', process.getuid?.() ?? 0);
    agent = await startAgent(config, silentLog);
    await put(`/providers/seca.workspace/v1/${tenant}/workspaces/shop`, {});
    const made = JSON.parse(readFileSync(join(root, '.cache/guest/guest.json'), 'utf8')) as { sha256: string; bytes: number };
    const content: Buffer[] = [];
    for await (const piece of createReadStream(join(root, '.cache/guest/guest.qcow2'))) content.push(piece as Buffer);
    const upload = { sizeBytes: made.bytes, sha256: made.sha256 };
    await put(`${imports}/guest`, {
      source: { upload },
      format: 'qcow2',
      cpuArchitecture: 'amd64',
      boot: 'BIOS',
      initializer: 'cloudinit-22',
    });
    await plane.upload(`${imports}/guest/content`, Buffer.concat(content));
    await plane.until(`/providers/seca.storage/v1/${tenant}/images/guest`, settled, 60_000);
  }, 400_000);

  afterAll(async () => {
    for (const name of ['first', 'again']) await plane?.call('DELETE', `${instances}/${name}`);
    for (const name of ['first', 'again'])
      await plane?.until(`${instances}/${name}`, ({ status }) => status === 404, 60_000).catch(() => {});
    await agent?.stop();
    await plane?.stop();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  }, 180_000);

  it('are attached, written, grown, backed up, let go of, and come back from the backup with what they held', {
    timeout: 400_000,
  }, async () => {
    await put(`${disks}/root`, { sizeGB: 1, skuRef: 'skus/ld500', sourceImageRef: 'images/guest' });
    await put(`${disks}/data`, { sizeGB: 1, skuRef: 'skus/ld500' });
    const spec = { zone: 'here', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/root' }, userData: watchDisks };
    await put(`${instances}/first`, spec, { 'virt8ra.power': 'on' });
    await untilSaid(0, /guest: ready .* boot 1 /);

    await put(`${instances}/first`, { ...spec, dataVolumes: [{ deviceRef: 'block-storages/data' }] }, { 'virt8ra.power': 'on' });
    const device = /(\/dev\/vd[b-z])/.exec(await untilSaid(0, /wrote \/dev\/vd[b-z]/))?.[1];
    await plane.until(`${instances}/first`, (answer) => statusOf(answer)?.volumes?.every(({ state }) => state === 'attached'), 60_000);

    await put(`${disks}/data`, { sizeGB: 2, skuRef: 'skus/ld500' });
    await untilSaid(0, /disks: vd[b-z]:39\d{5}\./);
    await plane.until(`${disks}/data`, (answer) => settled(answer) && statusOf(answer)?.sizeGB === 2, 60_000);

    await put(`${backups}/both`, { instanceRef: 'instances/first' });
    const backup = await plane.until(`${backups}/both`, (answer) => statusOf(answer)?.phase === 'done' && statusOf(answer), 120_000);
    expect(backup).toMatchObject({ consistency: 'crash', volumes: [{ sizeBytes: 1_000_341_504 }, { sizeBytes: 2_000_683_008 }] });
    expect(statusOf(await plane.call('GET', `${instances}/first`))?.activity?.value).toBe('running');

    await put(`${instances}/first`, spec, { 'virt8ra.power': 'on' });
    await untilSaid(0, /disks:\.[\s\S]*$/);
    await plane.until(`${instances}/first`, (answer) => settled(answer) && statusOf(answer)?.volumes?.length === 1, 60_000);
    expect((await plane.call('DELETE', `${disks}/data`)).status).toBe(202);
    await plane.until(`${disks}/data`, ({ status }) => status === 404, 60_000);
    expect((await plane.call('POST', `${instances}/first/stop`)).status).toBe(202);

    await put(`${disks}/root-again`, { sizeGB: 1, skuRef: 'skus/ld500' }, { 'virt8ra.backup': 'both/root' });
    await put(`${disks}/data-again`, { sizeGB: 2, skuRef: 'skus/ld500' }, { 'virt8ra.backup': 'both/data' });
    const again = {
      ...spec,
      bootVolume: { deviceRef: 'block-storages/root-again' },
      dataVolumes: [{ deviceRef: 'block-storages/data-again' }],
    };
    await put(`${instances}/again`, again, { 'virt8ra.power': 'on' });
    await untilSaid(1, /found marked-by-first! on \/dev\/vd[b-z]/);
    // Its own disk, too, went on where it was: this is its second boot.
    await untilSaid(1, /guest: ready .* boot 2 /);
    expect(device).toMatch(/^\/dev\/vd/);
  });
});
