import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, watch, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { missingPackages, root } from '../ensure.mjs';

const run = promisify(execFile);
const missing = missingPackages(['qemu', 'seed', 'guest']);
const mac = '52:54:00:76:69:72';
const networkConfig = JSON.stringify({
  version: 2,
  ethernets: { nic0: { match: { macaddress: mac }, addresses: ['10.0.2.15/24'], routes: [{ to: 'default', via: '10.0.2.2' }], mtu: 1400 } },
});
const userData = `#cloud-config
runcmd:
  - echo "mtu $(cat /sys/class/net/eth0/mtu)" >/dev/console
  - [sh, -c, "echo 'words kept  apart' >/dev/console"]
  - |
    for word in a block; do
      echo "line of $word" >/dev/console
    done
`;

interface Told {
  hostname: string;
  bootId: string;
  boots: number;
  counter: number;
  addresses: string[];
  instanceId: string;
  cpus: number;
}

/** A port of the loopback address that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
}

/** Resolves when the file holds all the texts; rejects after the given time with what it holds. */
function untilHolds(file: string, texts: string[], milliseconds: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const content = readFileSync(file, 'utf8');
      if (!texts.every((text) => content.includes(text))) return;
      done();
      resolve(content);
    };
    const watcher = watch(file, look);
    const timer = setTimeout(() => {
      done();
      reject(new Error(`no ${texts.join(', ')} in:\n${readFileSync(file, 'utf8')}`));
    }, milliseconds);
    const done = (): void => {
      watcher.close();
      clearTimeout(timer);
    };
    look();
  });
}

/** Whether a boot sector that asks to be ended (by the debug port) runs under KVM: its device may open and yet run nothing. */
async function kvmRuns(sector: string): Promise<boolean> {
  const code = Buffer.alloc(512);
  // mov al, 0x10; out 0xf4, al; hlt
  Buffer.from([0xb0, 0x10, 0xe6, 0xf4, 0xf4]).copy(code);
  code.writeUInt16LE(0xaa55, 510);
  writeFileSync(sector, code);
  const args = ['-accel', 'kvm', '-nodefaults', '-display', 'none', '-drive', `file=${sector},format=raw,if=virtio`];
  const qemu = spawn('qemu-system-x86_64', [...args, '-device', 'isa-debug-exit,iobase=0xf4,iosize=1'], { stdio: 'ignore', timeout: 5000 });
  const [status] = (await once(qemu, 'exit')) as [number | null];
  return status === 0x10 * 2 + 1;
}

describe.skipIf(missing.length > 0)('the demo guest', () => {
  const folder = mkdtempSync(join(tmpdir(), 'guest-test-'));
  const serial = join(folder, 'serial.log');
  const disk = join(folder, 'disk.qcow2');
  const seed = join(folder, 'seed.iso');
  const image = join(root, '.cache/guest/guest.qcow2');
  const running = new Set<ChildProcess>();
  let accelerator = 'tcg';

  /** Starts the guest; `off` ends it by the power button, `crash` at once. */
  async function start() {
    const port = await freePort();
    writeFileSync(serial, '');
    const device = (file: string, format: string, more: string): string[] => [
      '-drive',
      `file=${file},format=${format},if=none,id=${format}${more}`,
      '-device',
      `virtio-blk-pci,drive=${format}`,
    ];
    const qemu = spawn(
      'qemu-system-x86_64',
      [
        ...['-machine', 'pc', '-accel', accelerator, '-m', '192', '-nodefaults', '-display', 'none'],
        ...['-serial', `file:${serial}`, '-qmp', 'stdio'],
        ...device(disk, 'qcow2', ''),
        ...device(seed, 'raw', ',readonly=on'),
        ...['-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${port}-:80`, '-device', `virtio-net-pci,netdev=net,mac=${mac},romfile=`],
      ],
      { stdio: ['pipe', 'ignore', 'pipe'] },
    );
    running.add(qemu);
    const ended = once(qemu, 'exit');
    qemu.stdin.write('{"execute":"qmp_capabilities"}\n');
    await untilHolds(serial, ['guest: ready'], 90_000);
    const ask = async (): Promise<Told> => {
      const answer = await fetch(`http://127.0.0.1:${port}/cgi-bin/info`);
      return (await answer.json()) as Told;
    };
    return {
      port,
      ask,
      counted: async (least: number): Promise<Told> => {
        let told = await ask();
        while (told.counter < least) told = await ask();
        return told;
      },
      off: async () => {
        qemu.stdin.write('{"execute":"system_powerdown"}\n');
        await ended;
      },
      crash: async () => {
        qemu.kill('SIGKILL');
        await ended;
      },
    };
  }

  beforeAll(async () => {
    await run(join(root, 'tools/guest/make-guest.sh'));
    accelerator = (await kvmRuns(join(folder, 'sector'))) ? 'kvm' : 'tcg';
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', image, disk]);
    writeFileSync(join(folder, 'meta-data'), 'instance-id: i-7\nlocal-hostname: seven\n');
    writeFileSync(join(folder, 'user-data'), userData);
    writeFileSync(join(folder, 'network-config'), networkConfig);
    const files = ['meta-data', 'user-data', 'network-config'].map((name) => join(folder, name));
    await run('genisoimage', ['-quiet', '-V', 'cidata', '-J', '-R', '-o', seed, ...files]);
  });
  afterAll(() => {
    for (const qemu of running) qemu.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });

  it('is described by the file beside it', async () => {
    const told = JSON.parse(readFileSync(join(root, '.cache/guest/guest.json'), 'utf8')) as Record<string, unknown>;
    const { stdout } = await run('sha256sum', [image]);
    expect(told['sha256']).toBe(stdout.slice(0, 64));
    const { stdout: facts } = await run('qemu-img', ['info', '--output=json', image]);
    expect(told['virtualBytes']).toBe((JSON.parse(facts) as Record<string, unknown>)['virtual-size']);
  });

  it('boots, follows its seed, counts on after a crash, and goes off by the power button', async () => {
    const first = await start();
    await untilHolds(serial, ['mtu 1400', 'words kept  apart', 'line of a', 'line of block', 'user data ended with 0'], 30_000);
    const before = await first.counted(2);
    expect(before).toMatchObject({ hostname: 'seven', instanceId: 'i-7', boots: 1, addresses: ['10.0.2.15/24'], cpus: 1 });
    const page = await fetch(`http://127.0.0.1:${first.port}/`);
    expect(await page.text()).toContain('A guest of Virt8ra');
    await first.crash();

    const second = await start();
    const after = await second.ask();
    expect(after.counter).toBeGreaterThanOrEqual(before.counter);
    expect(after.boots).toBe(2);
    expect(after.bootId).not.toBe(before.bootId);
    let isOff = false;
    const off = second.off().finally(() => {
      isOff = true;
    });
    const told: Told[] = [after];
    // Cut off or refused on its way down is well; what is told must still be true.
    while (!isOff)
      await second.ask().then(
        (page) => told.push(page),
        () => undefined,
      );
    await off;
    expect(told.filter(({ boots, counter }) => boots !== 2 || counter < after.counter)).toEqual([]);
    expect(readFileSync(serial, 'utf8')).toContain('guest: power button');
  });
});

if (missing.length > 0) {
  it('boots the demo guest', (context) => context.skip(`missing: ${missing.join(' ')}`));
}
