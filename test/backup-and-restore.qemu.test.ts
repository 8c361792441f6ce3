import { execFile } from 'node:child_process';
import { createReadStream, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
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
const snapshots = `/providers/virt8ra.backup/v1beta1/${workspace}/snapshots`;
const imports = `/providers/virt8ra.image/v1beta1/${tenant}/image-imports`;

/**
 * An agent of the guest that can bring its file system to rest, and what tells of its disks whenever they change: one without a mark is filled, one that
 * has grown is trimmed.
 */
const inGuest = `#!/bin/sh
dmesg | grep -q 'EXT4-fs.*recovery complete' && echo "journal: recovered" >/dev/console || echo "journal: clean" >/dev/console
answer() {
  rest=thawed
  while :; do
    while IFS= read -r line; do
      case $line in
        *guest-sync-delimited*) id=\${line##*:}; printf '\\377{"return": %s}\\n' "\${id%%\\}*}" ;;
        *fsfreeze-freeze*) fsfreeze --freeze /data && rest=frozen; echo '{"return": 1}' ;;
        *fsfreeze-status*) echo "{\\"return\\": \\"$rest\\"}" ;;
        *fsfreeze-thaw*) fsfreeze --unfreeze /data; rest=thawed; echo '{"return": 1}' ;;
        *get-host-name*) echo '{"return": {"host-name": "tells\\u0000\\u202eof itself"}}' ;;
        *get-fsinfo*) echo '{"return": [{"mountpoint": "/data", "type": "ext4", "total-bytes": 1000000, "used-bytes": 500000}, {"mountpoint": 7}]}' ;;
        *network-get-interfaces*) echo '{"return": [{"name": "lo"}, {"name": "eth0", "hardware-address": "02:00:00:00:00:01", "ip-addresses": [{"ip-address": "10.0.0.7", "prefix": 24}, {"ip-address": "; rm"}]}]}' ;;
        *) echo '{"error": {"class": "CommandNotFound", "desc": "no such command"}}' ;;
      esac
    done
    usleep 100000
  done
}
for port in /dev/vport*p1; do [ -e "$port" ] && answer <>"$port" >&0 & done
sleep 1
echo "agent: listens" >/dev/console
content() { echo "content $(dd if=$1 bs=1M skip=1 count=16 2>/dev/null | sha256sum | cut -c1-64)." >/dev/console; }
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
        dd if=/dev/urandom of=$device bs=1M seek=1 count=16 conv=notrunc,fsync 2>/dev/null
        printf 'marked-by-first!' | dd of=$device bs=16 count=1 conv=notrunc,fsync 2>/dev/null && echo "wrote $device" >/dev/console
        content $device
      elif [ "\${disk#*:}" -gt 3000000 ]; then
        blkdiscard -o 1048576 -l 16777216 $device && echo "trimmed $device" >/dev/console
      else
        echo "found $mark on $device" >/dev/console
        content $device
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
    readonly guest?: { readonly value: object; readonly source: string; readonly observedAt: string };
    readonly conditions: readonly object[];
  };
}
const statusOf = ({ body }: Answer) => (body as Seen | undefined)?.status;

/** A real control plane, a real agent and a guest with an operating system. */
describe.skipIf(lacks.length > 0)('backup and restore', () => {
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
  /** What all volumes take of the host's disk. */
  const allocatedBytes = (): number =>
    readdirSync(join(folder, 'state', 'volumes')).reduce(
      (sum, key) => sum + statSync(join(folder, 'state', 'volumes', key, 'base.qcow2')).blocks * 512,
      0,
    );
  /** As a user does it. */
  const restoreByCommand = async (backup: string, name: string): Promise<void> => {
    const words = ['restore', backup, '--as-instance', name, '--sku', 'ld500', '--start'];
    const environment = { VIRT8RA_SERVER: plane.url, VIRT8RA_TOKEN: plane.token, VIRT8RA_TENANT: 'default', VIRT8RA_WORKSPACE: 'shop' };
    await promisify(execFile)(process.execPath, [join(root, 'packages/cli/dist/main.js'), ...words], {
      env: { PATH: process.env['PATH'] ?? '', HOME: folder, ...environment },
    });
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

  it('bring back every octet of a running guest’s disks, which come, grow, are trimmed and go meanwhile', {
    timeout: 400_000,
  }, async () => {
    await put(`${disks}/root`, { sizeGB: 1, skuRef: 'skus/ld500', sourceImageRef: 'images/guest' });
    await put(`${disks}/data`, { sizeGB: 1, skuRef: 'skus/ld500' });
    const spec = { zone: 'here', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/root' }, userData: inGuest };
    await put(`${instances}/first`, spec, { 'virt8ra.power': 'on' });
    await untilSaid(0, /agent: listens/);
    const told = await plane.until(`${instances}/first`, (answer) => statusOf(answer)?.guest, 60_000);
    expect(told).toMatchObject({ source: expect.stringMatching(/^agent\/.+\/guest$/), observedAt: expect.stringMatching(/^20/) });
    expect(told.value).toEqual({
      hostName: 'tells of itself',
      interfaces: [{ name: 'eth0', mac: '02:00:00:00:00:01', addresses: ['10.0.0.7/24'] }],
      fileSystems: [{ mount: '/data', type: 'ext4', sizeBytes: 1_000_000, usedBytes: 500_000 }],
    });

    await put(`${instances}/first`, { ...spec, dataVolumes: [{ deviceRef: 'block-storages/data' }] }, { 'virt8ra.power': 'on' });
    const content = await untilSaid(0, /content [0-9a-f]{64}\./);
    await plane.until(`${instances}/first`, (answer) => statusOf(answer)?.volumes?.every(({ state }) => state === 'attached'), 60_000);

    await put(`${backups}/both`, { instanceRef: 'instances/first' });
    const backup = await plane.until(`${backups}/both`, (answer) => statusOf(answer)?.phase === 'done' && statusOf(answer), 120_000);
    expect(backup).toMatchObject({ consistency: 'file-system', volumes: [{ sizeBytes: 1_000_341_504 }, { sizeBytes: 1_000_341_504 }] });
    expect(statusOf(await plane.call('GET', `${instances}/first`))?.activity?.value).toBe('running');

    // A snapshot lasts as long as nobody deletes it, and is in nobody's way.
    await put(`${snapshots}/now`, { instanceRef: 'instances/first' });
    const taken = await plane.until(`${snapshots}/now`, (answer) => statusOf(answer)?.phase === 'taken' && statusOf(answer), 60_000);
    expect(taken).toMatchObject({ consistency: 'file-system', volumes: [{ sizeBytes: 1_000_341_504 }, { sizeBytes: 1_000_341_504 }] });
    expect((await plane.call('DELETE', `${snapshots}/now`)).status).toBe(202);
    await plane.until(`${snapshots}/now`, ({ status }) => status === 404, 60_000);

    const held = allocatedBytes();
    await put(`${disks}/data`, { sizeGB: 2, skuRef: 'skus/ld500' });
    await untilSaid(0, /trimmed \/dev\/vd[b-z]/);
    expect(held - allocatedBytes()).toBeGreaterThan(12 * 1024 * 1024);
    await plane.until(`${disks}/data`, (answer) => settled(answer) && statusOf(answer)?.sizeGB === 2, 60_000);

    await put(`${instances}/first`, spec, { 'virt8ra.power': 'on' });
    await untilSaid(0, /disks:\.[\s\S]*$/);
    await plane.until(`${instances}/first`, (answer) => settled(answer) && statusOf(answer)?.volumes?.length === 1, 60_000);
    expect((await plane.call('DELETE', `${disks}/data`)).status).toBe(202);
    await plane.until(`${disks}/data`, ({ status }) => status === 404, 60_000);
    expect((await plane.call('POST', `${instances}/first/stop`)).status).toBe(202);

    await restoreByCommand('both', 'again');
    expect(await untilSaid(1, /content [0-9a-f]{64}\./)).toBe(content);
    // Its own disk went on where it was, and needed no repair: this is its second boot.
    await untilSaid(1, /journal: clean/);
    await untilSaid(1, /guest: ready .* boot 2 /);
  });
});
