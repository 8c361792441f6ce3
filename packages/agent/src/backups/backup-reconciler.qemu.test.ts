import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ObservedBackup } from '@virt8ra/contract';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hasCommand, runCommand } from '../system/run-command.js';
import { blankVolume, imageVolume, smallInstance } from '../testing/desired-objects.js';
import { type OneAgent, prepareAgent } from '../testing/one-agent.js';
import { counterFrom, tinyGuestBytes, tinyGuestImage } from '../testing/tiny-guest.js';

const qemu = (await hasCommand('qemu-system-x86_64')) && (await hasCommand('qemu-img'));
if (!qemu) process.stderr.write('skipped: qemu-system-x86_64 and qemu-img are not installed\n');

const mib = 1024 * 1024;
const permit = { epoch: 1, holder: 'alpha' };
/** Where the guest keeps its counter, and where it writes nothing. */
const counterAt = 8 * 512;
const stillAt = 20 * mib;

/** A guest with Linux in it, which the other tests' is too small for. */
const linux = fileURLToPath(new URL('../../../../.cache/guest/guest.qcow2', import.meta.url));

/**
 * What stands inside the guest for qemu-guest-agent, and does the same to its file system. The first time it is slow to say so, so that whoever
 * asked can be gone by then.
 */
const slowGuestAgent = `#!/bin/sh
for port in /sys/class/virtio-ports/*; do [ "$(cat "$port/name")" = org.qemu.guest_agent.0 ] && device=/dev/\${port##*/}; done
exec 3<>"$device"
echo "ga: listens" >/dev/console
while :; do
  IFS= read -r line <&3 || { usleep 50000; continue; }
  case $line in
    *guest-sync-delimited*) id=\${line##*\\"id\\":}; answer="{\\"return\\": \${id%%[!0-9]*}}" ;;
    *guest-fsfreeze-freeze*)
      sync; fsfreeze --freeze /data && echo "ga: frozen" >/dev/console
      [ -e /run/slow ] || { : >/run/slow; sleep 6; }
      answer='{"return": 1}' ;;
    *guest-fsfreeze-thaw*) fsfreeze --unfreeze /data && echo "ga: thawed" >/dev/console; answer='{"return": 1}' ;;
    *guest-fsfreeze-status*) answer='{"return": "frozen"}' ;;
    *) answer='{"error": {"class": "CommandNotFound", "desc": "not here"}}' ;;
  esac
  printf '\\377%s\\n' "$answer" >&3
done
`;

describe.skipIf(!qemu)('a backup', () => {
  let plane: OneAgent['plane'];
  let agent: OneAgent['agent'];
  let end: OneAgent['end'];

  beforeEach(async () => {
    ({ plane, agent, end } = await prepareAgent());
  });
  afterEach(async (test) => await end(test));

  const sent = async (key: string): Promise<ObservedBackup> =>
    await plane.until(`backup ${key} is sent`, () => {
      const seen = plane.view('alpha').backups.get(key);
      return seen?.state === 'sent' ? seen : undefined;
    });
  /** What came of a volume, as a raw disk; its digest is checked. */
  const contentOf = async (backup: ObservedBackup, position: number): Promise<Buffer> => {
    const upload = plane.uploads.get(`/agent/v1/backups/${backup.key}/${position}`);
    const { sha256, bytes } = backup.volumes[position]?.file ?? {};
    expect(upload?.content.length).toBe(bytes);
    expect(
      createHash('sha256')
        .update(upload?.content ?? '')
        .digest('hex'),
    ).toBe(sha256);
    const file = join(agent.folder, `${backup.key}-${position}.qcow2`);
    writeFileSync(file, upload?.content ?? '');
    await runCommand('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', file, `${file}.raw`]);
    return readFileSync(`${file}.raw`);
  };

  it('of a running guest is all its disks at one moment, over a killed agent and a cut upload, and leaves nothing behind', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const volumes = [imageVolume('v1', image, tinyGuestBytes), blankVolume('v2', 8 * mib)];
    plane.want('alpha', { volumes, instances: [smallInstance('i1', 'v1', permit, { volumeKeys: ['v1', 'v2'] })] });
    agent.start();
    await plane.until('the guest counts', () => (plane.view('alpha').instances.get('i1')?.boot?.serialBytes ?? 0) > 100);
    const before = counterFrom(agent.serial('i1'));
    plane.cutUploadAfter = 256 * 1024;
    plane.want('alpha', { backups: [{ key: 'b1', volumes: [{ volumeKey: 'v1' }, { volumeKey: 'v2' }] }] });
    await plane.until('it is being copied', () => plane.view('alpha').backups.get('b1')?.state === 'copying');
    await agent.stop('SIGKILL');
    plane.view('alpha').backups.clear();
    agent.start();
    const backup = await sent('b1');
    const after = counterFrom(agent.serial('i1'));
    expect(backup).toMatchObject({ consistency: 'crash', takenAt: expect.any(String) });
    expect(backup.volumes.map(({ sizeBytes }) => sizeBytes)).toEqual([tinyGuestBytes, 8 * mib]);

    const disk = await contentOf(backup, 0);
    const counted = disk.readUInt32LE(counterAt);
    expect(counted).toBeGreaterThanOrEqual(before);
    expect(counted).toBeLessThanOrEqual(after);
    // The guest writes its counter twice; at one moment the second place is the same or one behind.
    const mark = disk.readUInt32LE((2048 + 16 * (counted % 1024)) * 512);
    expect([counted, 0, counted - 1024]).toContain(mark);
    expect(disk.subarray(stillAt, stillAt + 2 * mib).equals(tinyGuestImage().subarray(stillAt, stillAt + 2 * mib))).toBe(true);
    expect(backup.volumes[0]?.file?.bytes).toBeLessThan(6 * mib);
    expect((await contentOf(backup, 1)).every((octet) => octet === 0)).toBe(true);

    expect(plane.view('alpha').instances.get('i1')).toMatchObject({ state: 'running' });
    expect(readdirSync(`${agent.state}/backups/b1`)).toEqual(['backup.json']);
    plane.want('alpha', { backups: [] });
    await plane.until('it is forgotten', () => plane.view('alpha').backups.size === 0 && !existsSync(`${agent.state}/backups/b1`));
    expect(plane.faults).toEqual([]);
  });

  it.skipIf(!existsSync(linux))('wakes a guest whose file system was at rest when the agent was killed, and comes about', async () => {
    const content = readFileSync(linux);
    const image = plane.addArtifact(content);
    const volume = { ...imageVolume('v1', image, 64 * mib), source: { type: 'image', ...image, format: 'qcow2' } as const };
    const seed = { instanceId: 'iid-i1', hostname: 'i1', sshKeys: [], userData: slowGuestAgent };
    plane.want('alpha', { volumes: [volume], instances: [smallInstance('i1', 'v1', permit, { memoryMiB: 128, seed })] });
    agent.start();
    const count = (word: string): number => agent.serial('i1').split(`ga: ${word}`).length - 1;
    const said = async (word: string) => await expect.poll(() => count(word), { timeout: 60_000, interval: 50 }).toBeGreaterThan(0);
    await said('listens');
    plane.want('alpha', { backups: [{ key: 'b1', volumes: [{ volumeKey: 'v1' }] }] });
    await said('frozen');
    await agent.stop('SIGKILL');
    expect(agent.serial('i1')).not.toContain('ga: thawed');
    plane.view('alpha').backups.clear();
    agent.start();
    await said('thawed');
    const backup = await sent('b1');
    expect(backup.consistency).toBe('file-system');
    // As often as it was brought to rest it was woken.
    expect(count('thawed')).toBe(count('frozen'));
    expect(plane.view('alpha').instances.get('i1')).toMatchObject({ state: 'running' });
  });

  it('of volumes that nobody uses keeps guests from them until they are copied, and can be called off', async () => {
    const image = plane.addArtifact(tinyGuestImage());
    const volumes = [imageVolume('v1', image, tinyGuestBytes)];
    plane.want('alpha', { volumes, instances: [smallInstance('i1', 'v1', permit, { power: 'off' })] });
    agent.start();
    await plane.until('the volume is there', () => plane.view('alpha').volumes.get('v1')?.state === 'ready');
    plane.want('alpha', { backups: [{ key: 'b1', volumes: [{ volumeKey: 'v1' }] }] });
    const backup = await sent('b1');
    expect(backup.consistency).toBe('offline');
    const image2 = tinyGuestImage();
    expect((await contentOf(backup, 0)).equals(image2)).toBe(true);

    plane.want('alpha', { backups: [{ key: 'b2', volumes: [{ volumeKey: 'nowhere' }] }] });
    await plane.until('one waits for what is not there', () =>
      plane.view('alpha').backups.get('b2')?.waitingFor?.includes('volume nowhere'),
    );
    plane.want('alpha', { backups: [], instances: [smallInstance('i1', 'v1', permit)] });
    await plane.until('the guest runs', () => plane.view('alpha').instances.get('i1')?.state === 'running');
    expect(plane.view('alpha').backups.size).toBe(0);
    expect(readdirSync(`${agent.state}/backups`)).toEqual([]);
  });
});
