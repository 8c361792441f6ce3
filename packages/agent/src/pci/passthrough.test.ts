import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { parseConfig } from '../config.js';
import { openQuarantine } from '../disk/quarantine.js';
import { checkPci } from '../doctor/pci-checks.js';
import { silentLog } from '../log.js';
import { parseAllowances } from './allowance.js';
import { PciPassthrough } from './passthrough.js';
import { PciNames } from './pci-names.js';
import { type FakeFunction, FakePci } from './testing/fake-pci.js';

const gpu = '0000:41:00.0';
const audio = '0000:41:00.1';
const second = '0000:42:00.0';
const disk = '0000:43:00.0';

const machine: readonly FakeFunction[] = [
  { address: '0000:00:00.0', id: '8086:1237', class: '0600', group: 0 },
  { address: '0000:00:02.0', id: '1a03:2000', class: '0300', group: 1, driver: 'ast', bootDisplay: true },
  { address: '0000:40:01.0', id: '1022:1483', class: '0604', group: 12, driver: 'pcieport' },
  { address: gpu, id: '10de:27b8', class: '0302', group: 12, driver: 'nvidia', node: 1 },
  { address: audio, id: '10de:22bb', class: '0403', group: 12, driver: 'snd_hda_intel', node: 1 },
  { address: second, id: '10de:27b8', class: '0302', group: 13 },
  { address: disk, id: '144d:a80a', class: '0108', group: 14, driver: 'nvme', disk: 'nvme0n1' },
  { address: '0000:44:00.0', id: '8086:1521', class: '0200', group: 15, driver: 'igb', net: 'eth0' },
  { address: '0000:44:00.1', id: '8086:1521', class: '0200', group: 16, driver: 'igb', net: 'eth1' },
  { address: '0000:45:00.0', id: '15b3:101d', class: '0200', group: 17, driver: 'mlx5_core', virtualFunctions: 4 },
  { address: '0000:46:00.0', id: '8086:0b60', class: '0b40', group: 18 },
  { address: '0000:46:00.1', id: '8086:0b61', class: '0b40', group: 18, driver: 'qat' },
];
const offered = '10de:27b8=L4/24,10de:22bb,1a03:2000,class:0108,8086:1521,0000:45:00.0,8086:0b60';

let fake: FakePci | undefined;
afterEach(async () => await fake?.remove());

async function open(pci: FakePci, allowed = offered, release: 'keep' | 'driver' = 'driver'): Promise<PciPassthrough> {
  const quarantine = openQuarantine(pci.state, silentLog);
  const parts = { system: pci, allowances: parseAllowances(allowed), release, quarantine, log: silentLog };
  return await PciPassthrough.open(join(pci.state, 'pci.json'), parts);
}
async function make(options: { readonly iommu?: boolean } = {}): Promise<FakePci> {
  fake = await FakePci.make(machine, options);
  return fake;
}
const one = [{ id: '10de:27b8', count: 1 }];
const drivers = async (pci: FakePci): Promise<string> =>
  [await pci.driver(gpu), await pci.driver(audio), await pci.driver(second)].map((each) => each ?? '-').join(' ');

describe('what a host offers', () => {
  it('is what its operator names, whole groups only, and nothing that the host itself needs', async () => {
    const pci = await make();
    await writeFile(join(pci.proc, 'self/mountinfo'), '29 1 259:0 / /srv rw - ext4 /dev/nvme0n1 rw\n');
    await writeFile(join(pci.proc, 'net/route'), 'Iface\tDest\tGw\tFl\tR\tU\tM\tMask\neth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n');
    pci.own = { eth1: ['192.0.2.7'] };
    const { iommu, devices } = await (await open(pci)).describe();
    expect(iommu).toMatchObject({ on: true });
    const told = new Map(devices.map((each) => [each.address, each]));
    // Whether there is a name depends on whether the machine has the register of names.
    expect({ ...told.get(gpu), name: undefined }).toEqual({
      address: gpu,
      id: '10de:27b8',
      class: '0302',
      driver: 'nvidia',
      iommuGroup: 12,
      numaNode: 1,
      gpu: { vendor: 'nvidia', model: 'L4', ram: 24 },
      state: 'offered',
    });
    expect(told.get(audio)).toMatchObject({ state: 'companion', with: gpu });
    expect(told.get(second)).toMatchObject({ state: 'offered' });
    expect(told.has('0000:40:01.0')).toBe(false);
    const reason = (address: string) => told.get(address)?.state === 'refused' && told.get(address)?.reason;
    expect(reason('0000:00:02.0')).toContain('boot VGA');
    expect(reason(disk)).toBe('it has a disk of the host’s, nvme0n1 (mounted at /srv)');
    expect(reason('0000:44:00.0')).toContain('default route (eth0)');
    expect(reason('0000:44:00.1')).toContain('192.0.2.7 on eth1');
    expect(reason('0000:45:00.0')).toContain('4 virtual functions');
    expect(reason('0000:46:00.0')).toContain('group 18 also has 0000:46:00.1 (8086:0b61), which is not offered');
    expect(reason('0000:46:00.1')).toContain('--pci-devices');
  });

  it('is nothing without a word of its operator, and nothing without an IOMMU, which is said everywhere', async () => {
    const pci = await make({ iommu: false });
    const { iommu, devices } = await (await open(pci)).describe();
    expect(iommu).toEqual({ on: false, reason: 'no IOMMU: the kernel has none in use' });
    expect(devices.find(({ address }) => address === gpu)).toMatchObject({ state: 'refused', reason: iommu.reason });
    await expect((await open(pci)).take('i1', one)).rejects.toMatchObject({
      kind: 'exhausted',
      message: expect.stringContaining('no IOMMU'),
    });
    expect(pci.written).toEqual([]);
    const config = parseConfig({ state: pci.state, 'pci-devices': offered }, {}, () => '', 0);
    expect(await checkPci(config, pci)).toMatchObject([
      { check: 'pci/iommu', level: 'warn', mend: expect.stringContaining('intel_iommu=on') },
    ]);
    expect((await checkPci({ ...config, pciDevices: [] }, pci))[0]).toMatchObject({
      level: 'pass',
      message: expect.stringContaining('VT-d'),
    });
    const silent = await (await open(pci, '')).describe();
    expect(silent.devices.every(({ state }) => state === 'refused')).toBe(true);
  });

  it('is called as the host’s own register calls it', async () => {
    const pci = await make();
    const path = join(pci.state, 'pci.ids');
    await writeFile(path, '# register\n10de  NVIDIA Corporation\n\t27b8  AD104GL [L4]\n\t\t10de 16ca  other\n1a03  ASPEED\n');
    const names = new PciNames([join(pci.state, 'absent'), path]);
    expect([...(await names.of(new Set(['10de:27b8', '1a03:2000'])))]).toEqual([['10de:27b8', 'NVIDIA Corporation AD104GL [L4]']]);
  });
});

describe('a device of a guest', () => {
  it('is bound with its whole group, opened to that guest alone, and never given twice', async () => {
    const pci = await make();
    const passthrough = await open(pci);
    expect(await passthrough.take('i1', one)).toEqual([{ place: 0, functions: [gpu, audio] }]);
    expect(await drivers(pci)).toBe('vfio-pci vfio-pci -');
    await passthrough.grant('i1', 4711);
    expect(pci.owners.get('12')).toBe(4711);
    expect(await passthrough.take('i2', one)).toEqual([{ place: 0, functions: [second] }]);
    await expect(passthrough.take('i3', one)).rejects.toMatchObject({
      kind: 'exhausted',
      message: expect.stringContaining('has 0 for it'),
    });
    expect((await passthrough.describe()).devices.filter(({ state }) => state === 'held')).toHaveLength(2);

    // Off and on again, also under another agent: the same one.
    await passthrough.revoke('i1');
    expect(pci.owners.get('12')).toBe(0);
    const later = await open(pci);
    expect(await later.take('i1', one)).toEqual([{ place: 0, functions: [gpu, audio] }]);
    expect(later.of('i1')).toEqual([{ id: '10de:27b8', address: gpu }]);

    await later.giveBack('i1');
    await later.giveBack('i1');
    expect(await drivers(pci)).toBe('nvidia snd_hda_intel vfio-pci');
    expect(await later.take('i3', one)).toEqual([{ place: 0, functions: [gpu, audio] }]);
  });

  it('stays ready for guests where the operator has it so, and goes when another size does without', async () => {
    const pci = await make();
    const passthrough = await open(pci, offered, 'keep');
    expect(await passthrough.take('i1', [{ id: '10de:27b8', count: 2 }])).toHaveLength(2);
    await passthrough.trim('i1', one);
    expect(passthrough.of('i1')).toHaveLength(1);
    expect(await passthrough.take('i1', one)).toHaveLength(1);
    await passthrough.giveBack('i1');
    expect(await drivers(pci)).toBe('vfio-pci vfio-pci vfio-pci');
    pci.taken.add('12');
    expect((await passthrough.describe()).devices.find(({ address }) => address === gpu)).toMatchObject({
      state: 'refused',
      reason: expect.stringContaining('no guest of this agent'),
    });
  });

  it('is finished or undone, whichever write the agent was killed at', async () => {
    for (let step = 0; ; step += 1) {
      for (const goal of ['finish', 'undo'] as const) {
        const pci = await make();
        const first = await open(pci);
        pci.diesAfter = step;
        const died = new Promise<'died'>((resolve) => {
          pci.died = () => resolve('died');
        });
        const how = await Promise.race([died, first.take('i1', one).then(() => 'done')]);
        pci.diesAfter = Number.POSITIVE_INFINITY;
        const next = await open(pci);
        await next.adopt(new Map(), () => goal === 'finish');
        if (goal === 'finish') {
          expect(await next.take('i1', one)).toEqual([{ place: 0, functions: [gpu, audio] }]);
          expect(await drivers(pci)).toBe('vfio-pci vfio-pci -');
        }
        await next.giveBack('i1');
        expect(await drivers(pci), `killed at write ${step}`).toBe('nvidia snd_hda_intel -');
        expect(JSON.parse(await readFile(join(pci.state, 'pci.json'), 'utf8'))).toEqual({ version: 1, claims: [] });
        await pci.remove();
        if (how === 'done' && goal === 'undo') {
          expect(step).toBeGreaterThan(4);
          return;
        }
      }
    }
  });

  it('is not half taken: without the driver, from a driver that clings, or beside a function of the chipset in use', async () => {
    const pci = await make();
    const passthrough = await open(pci);
    pci.module = 'absent';
    await expect(passthrough.take('i1', one)).rejects.toMatchObject({ kind: 'unsupported', message: expect.stringContaining('vfio-pci') });
    pci.module = 'loadable';
    pci.clinging = 'snd_hda_intel';
    await expect(passthrough.take('i1', one)).rejects.toMatchObject({ kind: 'unavailable', message: expect.stringContaining('EBUSY') });
    expect(await drivers(pci)).toBe('nvidia snd_hda_intel -');
    expect(passthrough.of('i1')).toEqual([]);
    await pci.remove();

    const chipset = { address: '0000:40:1f.0', id: '8086:7a04', class: '0601', group: 12, driver: 'lpc_ich' };
    fake = await FakePci.make([...machine, chipset]);
    expect((await (await open(fake)).describe()).devices.find(({ address }) => address === gpu)?.reason).toContain('lpc_ich');
    // The other one has a group of its own.
    expect(await (await open(fake)).take('i1', one)).toEqual([{ place: 0, functions: [second] }]);
  });

  it('that vanishes is told of, and another one is taken at the next start if there is one', async () => {
    const pci = await make();
    const passthrough = await open(pci);
    await passthrough.take('i1', one);
    expect(await passthrough.fault('i1')).toBeUndefined();
    await pci.write(join(pci.sys, 'bus/pci/drivers/vfio-pci/unbind'), audio);
    expect(await passthrough.fault('i1')).toContain(`driver none of this host has its PCI device ${audio}`);
    await pci.unplug(gpu);
    expect(await passthrough.fault('i1')).toContain(`PCI device ${gpu} has vanished`);
    expect(await passthrough.take('i1', one)).toEqual([{ place: 0, functions: [second] }]);
    await pci.unplug(second);
    await expect(passthrough.take('i1', one)).rejects.toMatchObject({ kind: 'exhausted' });
  });

  it('is known by its process when what was written down is lost', async () => {
    const pci = await make();
    await (await open(pci)).take('i1', one);
    await writeFile(join(pci.state, 'pci.json'), '{"version":1,"claims":7}');
    const next = await open(pci);
    await next.adopt(new Map([['i1', [{ place: 0, functions: [gpu, audio] }]]]), () => true);
    expect(next.of('i1')).toEqual([{ id: '10de:27b8', address: gpu }]);
    expect(await next.take('i1', one)).toEqual([{ place: 0, functions: [gpu, audio] }]);
    await next.giveBack('i1');
    // Nobody knows which driver had it: the kernel chooses.
    expect(await drivers(pci)).toBe('nvidia snd_hda_intel -');
  });
});
