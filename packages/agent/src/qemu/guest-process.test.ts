import { expect, it } from 'vitest';
import { type GuestPlan, qemuCommand, stableUuid } from './command-line.js';
import { factsFromCommand, listQemuProcesses } from './guest-process.js';

const plan: GuestPlan = {
  architecture: 'amd64',
  launchId: 'launch.3',
  instance: 'res_1',
  machine: 'pc-q35-7.2',
  cpuModel: 'Westmere-v1',
  accelerator: 'tcg',
  vCPU: 2,
  memoryMiB: 512,
  disks: [
    { volumeKey: 'v1', base: '/a,b/volumes/v1/base.qcow2', overlay: '/a,b/volumes/v1/overlay.qcow2' },
    { volumeKey: 'v2', base: '/a,b/volumes/v2/base.qcow2' },
  ],
  seed: '/seed.iso',
  nics: [{ mac: '52:54:00:00:00:01', netdev: 'user,id=net0,ipv6=off,net=10.0.0.0/24,hostfwd=tcp:127.0.0.1:4022-10.0.0.5:22', mtu: 1400 }],
  firmware: { code: '/code', variables: '/variables' },
  paths: {
    qmp: '/r/qmp',
    moverQmp: '/r/mover',
    pid: '/r/pid',
    log: '/r/log',
    console: '/r/tty',
    vnc: '/r/vnc',
    agent: '/r/agent',
    serial: '/a,b/instances/i1/guest/serial.log',
  },
};

it('reads back from a command line what a guest was started with', () => {
  expect(factsFromCommand(qemuCommand(plan))).toEqual({
    launchId: 'launch.3',
    uuid: stableUuid('res_1'),
    hostDevices: [],
    machine: 'pc-q35-7.2',
    cpuModel: 'Westmere-v1',
    accelerator: 'tcg',
    vCPU: 2,
    memoryMiB: 512,
    serial: '/a,b/instances/i1/guest/serial.log',
    qmp: '/r/qmp',
    disks: [['/a,b/volumes/v1/base.qcow2', '/a,b/volumes/v1/overlay.qcow2'], ['/a,b/volumes/v2/base.qcow2']],
    receives: false,
    macs: ['52:54:00:00:00:01'],
    forwards: [{ port: 22, hostPort: 4022 }],
  });
});

it('knows the disks of a guest that was started to receive a live move', () => {
  const disks = [{ volumeKey: 'v1', base: '/volumes/v1/base.qcow2', overlay: '/volumes/v1/overlay.qcow2', incoming: true }];
  expect(factsFromCommand(qemuCommand({ ...plan, disks }))).toMatchObject({ disks: [['/volumes/v1/base.qcow2']], receives: true });
});

it('takes no process for a guest of ours that has not the form of one', async () => {
  for (const command of [
    [],
    ['qemu-system-x86_64', '-name', 'web'],
    ['qemu-system-x86_64', '-name', 'guest=x,debug-threads=on', '-blockdev', '{'],
  ])
    expect(factsFromCommand(command)).toBeUndefined();
  expect((await listQemuProcesses()).every(({ command }) => command.length > 0)).toBe(true);
});
