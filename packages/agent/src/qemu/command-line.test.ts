import { expect, it } from 'vitest';
import { type GuestPlan, qemuCommand, stableUuid } from './command-line.js';
import { diskPortCount } from './disk-devices.js';
import { factsFromCommand } from './guest-process.js';
import { lockingMemory } from './host-devices.js';
import { pciAddress } from './pci-address.js';

const plan: GuestPlan = {
  architecture: 'amd64',
  launchId: 'launch',
  instance: 'res_1',
  machine: 'pc-q35-7.2',
  cpuModel: 'Westmere-v1',
  accelerator: 'tcg',
  vCPU: 2,
  memoryMiB: 512,
  disks: [{ volumeKey: 'v1', base: '/a/base.qcow2', overlay: '/a/overlay.qcow2' }],
  seed: '/s,eed.iso',
  nics: [],
  paths: {
    qmp: '/r/qmp',
    moverQmp: '/r/mover',
    pid: '/r/pid',
    log: '/r/log',
    serial: '/g/a,b.log',
    console: '/r/tty',
    vnc: '/r/vnc',
    agent: '/r/agent',
  },
};
const nodes = (command: string[]) =>
  command.flatMap((word, at) => (word === '-blockdev' ? [JSON.parse(command[at + 1] ?? '') as Record<string, unknown>] : []));

it('starts guests paused, in the sandbox, on a named machine and CPU', () => {
  const command = qemuCommand(plan).join(' ');
  for (const part of ['-S', '-no-shutdown', 'spawn=deny', '-machine pc-q35-7.2', '-cpu Westmere-v1', '-nodefaults'])
    expect(command).toContain(part);
});

it('opens the base below an overlay for reading only, and never follows what a file says about others', () => {
  const byName = new Map(nodes(qemuCommand(plan)).map((node) => [node['node-name'], node]));
  expect(byName.get('disk0')).toMatchObject({ driver: 'qcow2', backing: 'disk0-base' });
  expect(byName.get('disk0-base')).toMatchObject({ driver: 'qcow2', 'read-only': true, backing: null });
  const alone = nodes(qemuCommand({ ...plan, disks: [{ volumeKey: 'v1', base: '/a/base.qcow2' }] }));
  expect(alone.find((node) => node['node-name'] === 'disk0')).toMatchObject({ backing: null });
});

it('lets no path end a value early', () => {
  const command = qemuCommand(plan);
  expect(command).toContain('socket,id=serial0,server=on,wait=off,path=/r/tty,logfile=/g/a,,b.log,logappend=on');
  expect(nodes(command).find((node) => node['node-name'] === 'seed')).toMatchObject({ file: { filename: '/s,eed.iso' } });
});

it('gives every possible device a place of its own on the bus', () => {
  const all = [
    pciAddress('bootDisk'),
    ...Array.from({ length: 64 }, (_, index) => pciAddress('port', index)),
    ...Array.from({ length: 17 }, (_, index) => pciAddress('nic', index)),
    ...Array.from({ length: 16 }, (_, index) => pciAddress('hostDevicePort', index)),
    pciAddress('balloon'),
    pciAddress('rescue'),
    pciAddress('rng'),
    pciAddress('channels'),
    pciAddress('screen'),
    pciAddress('seed'),
  ];
  expect(new Set(all).size).toBe(all.length);
  expect(pciAddress('port', 63)).toMatch(/^addr=0xe\.0x7/);
});

it('puts the boot disk on the bus itself and every other disk behind a port of its own, with ports to spare', () => {
  const volumes = Array.from({ length: 6 }, (_, index) => ({ volumeKey: `v${index}`, base: `/a/${index}.qcow2` }));
  const command = qemuCommand({ ...plan, disks: volumes });
  const devices = command.filter((word) => word.startsWith('virtio-blk-pci,id=vd'));
  expect(devices[0]).toContain('bootindex=0,addr=0x6.0x0');
  expect(devices.slice(1).map((device) => /bus=(port\d+)/.exec(device)?.[1])).toEqual(['port1', 'port2', 'port3', 'port4', 'port5']);
  expect(command.filter((word) => word.startsWith('pcie-root-port,'))).toHaveLength(16);
  expect([1, 5, 6, 13, 14, 65].map(diskPortCount)).toEqual([8, 8, 16, 16, 24, 64]);
});

it('gives a screen where the machine can have one', () => {
  expect(qemuCommand(plan).join(' ')).toContain('-device VGA,addr=0x1d.0x0,multifunction=on -vnc unix:/r/vnc');
  expect(qemuCommand({ ...plan, architecture: 'arm64' })).not.toContain('-vnc');
});

it('tells an instance the same UUID wherever it runs', () => {
  expect(stableUuid('res_1')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(stableUuid('res_1')).toBe(stableUuid('res_1'));
  expect(stableUuid('res_1')).not.toBe(stableUuid('res_2'));
});

it('puts each device of the host behind a port of its own, its functions together, and knows them again by the command line', () => {
  const hostDevices = [
    { place: 0, functions: ['0000:41:00.0', '0000:41:00.1'] },
    { place: 9, functions: ['0000:42:00.0'] },
  ];
  const command = qemuCommand({ ...plan, hostDevices });
  const line = command.join(' ');
  expect(line).toContain(
    '-device pcie-root-port,id=host0,chassis=101,addr=0x11.0x0,multifunction=on' +
      ' -device vfio-pci,id=host0f0,host=0000:41:00.0,bus=host0,addr=0x0.0x0,multifunction=on' +
      ' -device vfio-pci,id=host0f1,host=0000:41:00.1,bus=host0,addr=0x0.0x1 ',
  );
  expect(line).toMatch(/id=host9,chassis=110,addr=0x12\.0x1 -device vfio-pci,id=host9f0,host=0000:42:00\.0,bus=host9,addr=0x0\.0x0$/);
  expect(factsFromCommand(command)?.hostDevices).toEqual(hostDevices);
  expect(factsFromCommand(qemuCommand(plan))?.hostDevices).toEqual([]);
  expect(lockingMemory(512, ['setpriv'])).toEqual(['prlimit', '--memlock=1610612736:1610612736', '--', 'setpriv']);
});
