import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type GuestInspection, type GuestTarget, preflight } from '@virt8ra/contract';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../system/run-command.js';
import { imageVolume, smallInstance } from '../testing/desired-objects.js';
import { fileDigest } from '../testing/file-digest.js';
import { prepareAgent } from '../testing/one-agent.js';
import { tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';
import { lackOfAppliance, makeAppliance } from './appliance-folder.js';
import type { GuestDisks } from './guest-disks.js';
import { libguestfsDisks } from './libguestfs-disks.js';

const lack = await lackOfAppliance();
if (lack !== undefined) process.stderr.write(`skipped: ${lack}\n`);

const target: GuestTarget = {
  architecture: 'amd64',
  firmware: 'bios',
  diskBus: 'virtio-blk',
  nics: [{ mac: '52:54:00:77:00:02', was: '52:54:00:77:00:01', addresses: ['10.77.0.5/24'] }],
};
const signal = AbortSignal.timeout(600_000);

/** A Linux as far as its files go: root on LVM, /data on the second disk by its device name, and a link that leads out of the guest. */
const recipe = (folder: string): string => `run
part-init /dev/sda mbr
part-add /dev/sda p 2048 -2048
pvcreate /dev/sda1
vgcreate guest /dev/sda1
lvcreate-free root guest 100
mkfs ext4 /dev/guest/root
part-disk /dev/sdb mbr
mkfs ext4 /dev/sdb1
mount /dev/guest/root /
mkdir-p /etc/netplan
mkdir /bin
mkdir /data
mkdir-p /var/lib/cloud/data
mkdir-p /var/lib/cloud/instances/i-1
ln-s /var/lib/cloud/instances/i-1 /var/lib/cloud/instance
write /var/lib/cloud/data/instance-id "i-1\\n"
mkdir-p /usr/bin
write /usr/bin/cloud-init ""
write /etc/fstab "/dev/mapper/guest-root / ext4 defaults 0 1\\n/dev/vdb1 /data ext4 defaults 0 2\\n"
write /etc/os-release "ID=debian\\nVERSION_ID=12\\nPRETTY_NAME=Wanderer\\n"
write /etc/debian_version "12.0\\n"
upload ${folder}/netplan /etc/netplan/lan.yaml
write /etc/machine-id "0123456789abcdef0123456789abcdef\\n"
ln-s /etc/shadow /etc/crypttab
umount-all
`;

describe.skipIf(lack !== undefined)('disks of a guest, looked into by libguestfs', () => {
  let folder: string;
  let guestDisks: GuestDisks;
  const disk = (name: string) => ({ files: [join(folder, `${name}.qcow2`)] });
  const above = (name: string) => ({ files: [join(folder, `${name}-overlay.qcow2`), join(folder, `${name}.qcow2`)] });

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'v8-gd-'));
    await chmod(folder, 0o711);
    await mkdir(join(folder, 'state'));
    const options = {
      directory: join(folder, 'state'),
      runtimeDirectory: join(folder, 'run'),
      accelerator: 'tcg',
      root: process.getuid?.() === 0,
    } as const;
    guestDisks = libguestfsDisks(options);
    for (const name of ['root', 'data']) {
      await runCommand('qemu-img', ['create', '-q', '-f', 'qcow2', join(folder, `${name}.qcow2`), '256M']);
      await runCommand('qemu-img', [
        'create',
        '-q',
        '-f',
        'qcow2',
        '-F',
        'qcow2',
        '-b',
        `${name}.qcow2`,
        join(folder, `${name}-overlay.qcow2`),
      ]);
    }
    await writeFile(
      join(folder, 'netplan'),
      'network:\n  ethernets:\n    lan:\n      match: {macaddress: "52:54:00:77:00:01"}\n      addresses: [10.77.0.5/24]\n',
    );
    const appliance = await makeAppliance(options.directory, signal);
    const made = spawnSync('guestfish', ['-a', join(folder, 'root.qcow2'), '-a', join(folder, 'data.qcow2')], {
      input: recipe(folder),
      encoding: 'utf8',
      env: {
        ...process.env,
        LIBGUESTFS_BACKEND: 'direct',
        LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
        LIBGUESTFS_PATH: appliance,
        LIBGUESTFS_CACHEDIR: folder,
      },
    });
    expect(made.stderr).toBe('');
  }, 300_000);
  afterAll(async () => await rm(folder, { recursive: true, force: true }));

  it('are inspected without being changed, and changed above what arrived, which stays as it was', async () => {
    const digests = async () => await Promise.all(['root', 'data'].map(async (name) => await fileDigest(join(folder, `${name}.qcow2`))));
    const before = await digests();
    const facts = await guestDisks.inspect([disk('root'), disk('data')], signal);
    expect(facts).toMatchObject({
      os: { family: 'linux', distribution: 'debian', version: '12.0' },
      root: { device: '/dev/guest/root', type: 'ext4', uuid: expect.stringMatching(/^[0-9a-f-]{36}$/) },
      lvm: [{ group: 'guest' }],
      nics: [{ mac: '52:54:00:77:00:01', addresses: ['10.77.0.5/24'] }],
      machineId: true,
    });
    expect(facts.mounts.find(({ target: at }) => at === '/data')).toMatchObject({
      device: '/dev/vdb1',
      uuid: expect.stringMatching(/^[0-9a-f-]{36}$/),
    });
    expect(preflight(facts, target).map(({ code }) => code)).toEqual(expect.arrayContaining(['device-name', 'nic-mac']));

    const changes = await guestDisks.prepare([above('root'), above('data')], { target, changes: 'make' }, signal);
    expect(changes.map(({ code }) => code)).toEqual([
      'mounts-by-uuid',
      'nic-mac',
      'cloud-init-identity',
      'cloud-init-identity',
      'serial-console',
    ]);
    expect(await digests()).toEqual(before);
  }, 600_000);
});

describe.skipIf(lack !== undefined)('a guest that runs', () => {
  it('is looked into while it runs on, and nothing is left in it; the answer is kept for a while', async (test) => {
    const { plane, agent, end } = await prepareAgent();
    try {
      const image = plane.addArtifact(tinyGuestImage());
      const permit = { epoch: 1, holder: 'alpha' };
      plane.want('alpha', { volumes: [imageVolume('v1', image, tinyGuestBytes)], instances: [smallInstance('i1', 'v1', permit)] });
      agent.start();
      const instance = () => plane.view('alpha').instances.get('i1');
      await plane.until('the guest runs', () => instance()?.state === 'running' && (instance()?.boot?.serialBytes ?? 0) > 50);
      const ask = async (maxAgeSeconds: number): Promise<GuestInspection> => {
        const { carrier } = await plane.openStream('alpha', 'i1', { type: 'guest-disks', maxAgeSeconds });
        const chunks: Uint8Array[] = [];
        await new Promise<void>((resolve) =>
          carrier.listen({ frame: (frame) => frame instanceof Uint8Array && chunks.push(frame), ended: () => resolve() }),
        );
        return JSON.parse(Buffer.concat(chunks).toString('utf8')) as GuestInspection;
      };
      const inspection = await ask(0);
      // No system that anybody knows, but a table and a boot loader.
      expect(inspection).toMatchObject({ at: expect.any(String), facts: { os: { family: 'unknown' }, boot: { firmware: ['bios'] } } });
      expect(await ask(3600)).toEqual(inspection);
      const before = instance()?.boot?.readBytes;
      expect(before).toBeGreaterThan(0);
      expect(instance()).toMatchObject({ state: 'running', restarts: 0 });
      expect(agent.log).not.toContain('still there');
    } finally {
      await end(test);
    }
  }, 300_000);
});
