import { type GuestTarget, preflight, preparation } from '@virt8ra/contract';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { replaceWords } from './edit-text.js';
import { applianceName, parseMounts } from './mount-files.js';
import { parseNicFile, parsePins } from './nic-files.js';
import { type GuestStorage, readGuest } from './read-guest.js';
import { MemoryTree } from './testing/memory-tree.js';

const storage: GuestStorage = {
  os: { family: 'linux', distribution: 'debian', name: 'Debian GNU/Linux 12', architecture: 'amd64' },
  firmware: ['bios'],
  partitionTable: 'msdos',
  root: { device: '/dev/guest/root', type: 'ext4', uuid: 'aaaaaaaa-0000-4000-8000-000000000001' },
  groups: ['guest'],
  raid: [],
  encrypted: [],
  uuids: new Map([
    ['/dev/sda1', 'bbbbbbbb-0000-4000-8000-000000000002'],
    ['/dev/sdb1', 'cccccccc-0000-4000-8000-000000000003'],
  ]),
  unread: [],
};

/** As a provider's image of Debian looks after it has run there for a while. */
const debian: Readonly<Record<string, string>> = {
  '/etc/fstab':
    '# made by the installer: /dev/sda1 was /boot\n/dev/mapper/guest-root / ext4 errors=remount-ro 0 1\n/dev/sda1 /boot ext4 defaults 0 2\n/dev/sdb1\t/data ext4 defaults 0 2\n/dev/sdq1 /gone ext4 nofail 0 2\n',
  '/etc/netplan/50-cloud-init.yaml':
    'network:\n    version: 2\n    ethernets:\n        ens192:\n            match:\n                macaddress: "00:50:56:aa:bb:cc"\n            set-name: ens192\n            addresses:\n            - 10.9.0.5/24\n            nameservers:\n                addresses: [1.1.1.1]\n',
  '/etc/network/interfaces': 'auto lo\niface lo inet loopback\nauto ens224\niface ens224 inet static\n  address 10.8.0.5/24\n',
  '/etc/machine-id': '0123456789abcdef0123456789abcdef\n',
  '/etc/ssh/ssh_host_ed25519_key.pub': 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJ3 root@guest\n',
  '/boot/grub/grub.cfg': 'linux /vmlinuz root=/dev/mapper/guest-root ro quiet\n',
  '/boot/vmlinuz-6.1.0-9-amd64': '',
  '/boot/vmlinuz-6.1.0-10-amd64': '',
  '/boot/initrd.img-6.1.0-10-amd64': '',
  '/usr/sbin/update-initramfs': '',
  '/lib/modules/6.1.0-10-amd64/modules.builtin': 'kernel/drivers/virtio/virtio.ko\n',
  '/usr/bin/cloud-init': '',
  '/etc/cloud/cloud.cfg': 'users:\n  - default\n',
  '/etc/cloud/cloud.cfg.d/90_dpkg.cfg': 'datasource_list: [ VMware, OVF, None ]\n',
  '/var/lib/cloud/data/instance-id': 'i-4711\n',
  '/lib/systemd/system/open-vm-tools.service': '',
  '/lib/systemd/system/qemu-guest-agent.service': '',
};

const target: GuestTarget = {
  architecture: 'amd64',
  firmware: 'bios',
  diskBus: 'virtio-blk',
  nics: [
    { mac: '52:54:00:00:00:01', was: '00:50:56:aa:bb:cc', addresses: ['10.9.0.5/24'] },
    { mac: '52:54:00:00:00:02', addresses: ['10.8.0.5/24'] },
  ],
  identity: { datasource: 'NoCloud', instanceId: 'res_1' },
};

async function prepared(tree: MemoryTree, at: GuestTarget, of = storage): Promise<readonly string[]> {
  const changes = preparation(await readGuest(tree, of), at);
  for (const { file, edit } of changes) tree.apply(file, edit);
  return changes.map(({ code, file }) => `${code} ${file}`);
}

describe('a guest on its disks', () => {
  it('is known by its files, and nothing secret is among what is told', async () => {
    const facts = await readGuest(new MemoryTree(debian, ['ata_piix']), storage);
    expect(facts).toMatchObject({
      kernel: { version: '6.1.0-10-amd64', initramfs: '/boot/initrd.img-6.1.0-10-amd64', builder: 'initramfs-tools', virtio: ['virtio'] },
      nics: [
        { kind: 'netplan', mac: '00:50:56:aa:bb:cc', addresses: ['10.9.0.5/24'] },
        { kind: 'interfaces', name: 'ens224', addresses: ['10.8.0.5/24'] },
      ],
      cloudInit: { disabled: false, datasources: ['VMware', 'OVF', 'None'], instanceId: 'i-4711', kept: false },
      machineId: true,
      serialConsole: false,
      agents: [{ name: 'vmtoolsd', state: 'enabled' }],
    });
    expect(facts.mounts.map(({ line, device, uuid }) => [line, device, uuid?.slice(0, 2)])).toEqual([
      [2, '/dev/mapper/guest-root', undefined],
      [3, '/dev/sda1', 'bb'],
      [4, '/dev/sdb1', 'cc'],
      [5, '/dev/sdq1', undefined],
    ]);
    expect(facts.hostKeys).toEqual([{ type: 'ssh-ed25519', fingerprint: expect.stringMatching(/^SHA256:[\w+/]{43}$/) }]);
    expect(JSON.stringify(facts)).not.toContain('AAAAC3NzaC1lZDI1NTE5');
  });

  it('is prepared for another machine, and prepared again nothing is left to do', async () => {
    const tree = new MemoryTree(debian, ['ata_piix']);
    expect(await prepared(tree, target)).toEqual([
      'mounts-by-uuid /etc/fstab',
      'virtio-drivers /boot/initrd.img-6.1.0-10-amd64',
      'nic-mac /etc/netplan/50-cloud-init.yaml',
      'nic-name /etc/systemd/network/10-virt8ra-ens224.link',
      'cloud-init-identity /etc/cloud/cloud.cfg.d/99-virt8ra-identity.cfg',
      'cloud-init-identity /var/lib/cloud/instance/manual-clean',
      'foreign-agent /etc/systemd/system/open-vm-tools.service',
      'serial-console /etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service',
    ]);
    expect(tree.files.get('/etc/fstab')).toBe(
      '# made by the installer: /dev/sda1 was /boot\n/dev/mapper/guest-root / ext4 errors=remount-ro 0 1\nUUID=bbbbbbbb-0000-4000-8000-000000000002 /boot ext4 defaults 0 2\nUUID=cccccccc-0000-4000-8000-000000000003\t/data ext4 defaults 0 2\n/dev/sdq1 /gone ext4 nofail 0 2\n',
    );
    expect(tree.files.get('/etc/netplan/50-cloud-init.yaml')).toContain('macaddress: "52:54:00:00:00:01"');
    expect(tree.files.get('/etc/systemd/network/10-virt8ra-ens224.link')).toContain('MACAddress=52:54:00:00:00:02\n\n[Link]\nName=ens224');
    expect(tree.drivers).toContain('virtio_blk');
    expect(tree.files.get('/etc/systemd/system/open-vm-tools.service')).toBe('-> /dev/null');
    expect(await prepared(tree, target)).toEqual([]);
  });

  it('is told to a person before, each finding with its mend', async () => {
    const found = preflight(await readGuest(new MemoryTree(debian, ['ata_piix']), storage), target);
    expect(found.map(({ code, severity, where }) => `${severity} ${code} ${where}`)).toEqual([
      'warns device-name /etc/fstab:3',
      'warns device-name /etc/fstab:4',
      'warns device-missing /etc/fstab:5',
      'warns virtio-missing /boot/initrd.img-6.1.0-10-amd64',
      'warns nic-name /etc/network/interfaces',
      'warns nic-mac /etc/netplan/50-cloud-init.yaml',
      'warns cloud-init-identity cloud-init',
      'info foreign-agent open-vm-tools.service',
      'info serial-console /etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service',
      'info lvm guest',
    ]);
    expect(found.every(({ what, mend }) => what.length > 10 && mend.length > 10)).toBe(true);
  });

  it.each([
    ['of another architecture', { os: { ...storage.os, architecture: 'arm64' } }, {}, 'architecture'],
    ['whose firmware the target has not', { firmware: ['uefi'] }, {}, 'firmware'],
    ['that a TPM opens', { encrypted: ['/dev/sda2'] }, { '/etc/crypttab': 'data /dev/sda2 none luks,tpm2-device=auto\n' }, 'tpm-bound'],
    ['whose start needs a disk that stays behind', {}, { '/etc/fstab': '/dev/sdz1 /srv ext4 defaults 0 2\n' }, 'device-missing'],
    [
      'whose initramfs nobody can make',
      {},
      { '/usr/sbin/update-initramfs': undefined, '/boot/initrd.img-6.1.0-10-amd64': undefined },
      'virtio-missing',
    ],
  ] as const)('blocks its move: one %s', async (_title, change, files, code) => {
    const all: Record<string, string> = { ...debian };
    for (const [path, text] of Object.entries<string | undefined>(files)) {
      if (text === undefined) delete all[path];
      else all[path] = text;
    }
    const facts = await readGuest(new MemoryTree(all), { ...storage, ...change });
    expect(
      preflight(facts, target)
        .filter(({ severity }) => severity === 'blocks')
        .map((each) => each.code),
    ).toContain(code);
  });

  it('that names two NICs of which nobody knows which is which is not guessed at', async () => {
    const tree = new MemoryTree({
      ...debian,
      '/etc/netplan/50-cloud-init.yaml': '',
      '/etc/network/interfaces': 'iface eth0 inet dhcp\niface eth1 inet dhcp\n',
    });
    const facts = await readGuest(tree, storage);
    expect(preparation(facts, target).map(({ code }) => code)).not.toContain('nic-name');
    expect(preflight(facts, target).filter(({ code }) => code === 'nic-unclear')).toHaveLength(2);
    const told = { ...target, nics: target.nics.map((nic, index) => ({ ...nic, name: `eth${1 - index}` })) };
    expect(preparation(facts, told).flatMap(({ code, file }) => (code === 'nic-name' ? [file] : []))).toEqual([
      '/etc/systemd/network/10-virt8ra-eth0.link',
      '/etc/systemd/network/10-virt8ra-eth1.link',
    ]);
  });

  it('gets a boot loader where UEFI looks without remembering, and SELinux its labels', async () => {
    const tree = new MemoryTree({ ...debian, '/boot/efi/EFI/debian/grubx64.efi': 'loader', '/etc/selinux/config': 'SELINUX=enforcing\n' }, [
      'virtio_pci',
      'virtio_blk',
    ]);
    const uefi: GuestStorage = { ...storage, firmware: ['uefi'] };
    const codes = await prepared(tree, { ...target, firmware: 'uefi' }, uefi);
    expect(codes).toContain('efi-fallback /boot/efi/EFI/BOOT/BOOTX64.EFI');
    expect(codes.at(-1)).toBe('relabel /.autorelabel');
    expect(tree.files.get('/boot/efi/EFI/BOOT/BOOTX64.EFI')).toBe('loader');
    expect(await prepared(tree, { ...target, firmware: 'uefi' }, uefi)).toEqual([]);
  });

  it('that is a Windows, or unknown, is left alone and told of', async () => {
    const facts = await readGuest(new MemoryTree({}), { ...storage, os: { family: 'windows', name: 'Windows Server 2022' }, groups: [] });
    expect(preparation(facts, target)).toEqual([]);
    expect(preflight(facts, target)).toMatchObject([{ code: 'guest-windows', severity: 'warns' }]);
  });

  it('is prepared once however often it is, whatever is in its files', async () => {
    const line = fc.constantFrom(
      '/dev/sda1 /boot ext4 defaults 0 2',
      '/dev/sdb1 none swap sw 0 0',
      '/dev/vdb1 /x xfs',
      'UUID=1 / ext4',
      '# /dev/sdb1',
      '',
      'broken',
    );
    const nic = fc.constantFrom(
      'iface eth0 inet dhcp',
      ' address 10.9.0.5',
      ' hwaddress ether 00:50:56:AA:BB:CC',
      'iface ens3 inet static',
      'garbage :',
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(line, { maxLength: 6 }),
        fc.array(nic, { maxLength: 6 }),
        fc.boolean(),
        fc.string(),
        async (mounts, nics, cloud, noise) => {
          const { '/usr/bin/cloud-init': _, ...rest } = debian;
          const tree = new MemoryTree({
            ...(cloud ? debian : rest),
            '/etc/fstab': mounts.join('\n'),
            '/etc/network/interfaces': nics.join('\n'),
            '/etc/netplan/9.yaml': noise,
          });
          await prepared(tree, target);
          const after = new Map(tree.files);
          expect(await prepared(tree, target)).toEqual([]);
          expect(tree.files).toEqual(after);
        },
      ),
      { seed: fc.readConfigureGlobal().seed ?? 5, numRuns: 150 },
    );
  });
});

describe('files that name NICs', () => {
  it.each([
    [
      'netplan',
      'network:\n  ethernets:\n    lan: {match: {macaddress: "52:54:00:00:00:01"}}\n',
      [{ mac: '52:54:00:00:00:01', addresses: [] }],
    ],
    [
      'netplan',
      'network:\n  ethernets:\n    lan:\n      match: {macaddress: "52:54:00:00:00:01"}\n      addresses: [10.0.0.2/24, "fd00::2/64"]\n',
      [{ mac: '52:54:00:00:00:01', addresses: ['10.0.0.2/24', 'fd00::2/64'] }],
    ],
    ['netplan', 'network:\n  ethernets:\n    any:\n      match:\n        name: "en*"\n      dhcp4: true\n', []],
    [
      'ifcfg',
      'DEVICE=eth0\nHWADDR="00:50:56:AA:BB:CC"\nIPADDR=10.0.0.2\nPREFIX=24\n',
      [{ name: 'eth0', mac: '00:50:56:AA:BB:CC', addresses: ['10.0.0.2/24'] }],
    ],
    [
      'network-manager',
      '[connection]\nid=x\ninterface-name=ens3\n[ethernet]\nmac-address=52:54:00:00:00:01\n[ipv4]\naddress1=10.0.0.2/24,10.0.0.1\n[wifi-security]\npsk=secret\n',
      [{ name: 'ens3', mac: '52:54:00:00:00:01', addresses: ['10.0.0.2/24'] }],
    ],
    ['networkd', '[Match]\nName=ens3\n[Network]\nAddress=10.0.0.2/24\n', [{ name: 'ens3', addresses: ['10.0.0.2/24'] }]],
  ] as const)('are read: %s', (kind, text, expected) => {
    const found = parseNicFile(kind, '/file', text).map(({ file: _file, kind: _kind, ...rest }) => rest);
    expect(found).toEqual(expected);
  });

  it('may bind names themselves', () => {
    expect(parsePins('/a.link', '[Match]\nMACAddress=52:54:00:00:00:01\n[Link]\nName=lan0\n')).toEqual([
      { file: '/a.link', name: 'lan0', mac: '52:54:00:00:00:01' },
    ]);
    expect(parsePins('/r.rules', 'SUBSYSTEM=="net", ATTR{address}=="52:54:00:00:00:01", NAME="eth0"\n')).toEqual([
      { file: '/r.rules', name: 'eth0', mac: '52:54:00:00:00:01' },
    ]);
  });

  it('are changed by whole words, and comments are left', () => {
    const words = [{ from: '/dev/sdb', to: 'UUID=1' }];
    expect(replaceWords('/dev/sdb /a\n/dev/sdb1 /b\n# /dev/sdb\nx=/dev/sdb,y "/dev/sdb"', words)).toBe(
      'UUID=1 /a\n/dev/sdb1 /b\n# /dev/sdb\nx=UUID=1,y "UUID=1"',
    );
  });
});

describe('devices', () => {
  it.each([
    ['/dev/vdb1', '/dev/sdb1'],
    ['/dev/xvda', '/dev/sda'],
    ['/dev/nvme1n1p3', '/dev/sdb3'],
    ['/dev/mapper/guest-root', undefined],
  ])('%s is %s where it is looked at', (device, name) => {
    expect(applianceName(device)).toBe(name);
  });

  it('of crypttab are the second word of a line', () => {
    expect(parseMounts('/etc/crypttab', 'data /dev/sdb1 none luks\nlazy UUID=1 none nofail\n')).toEqual([
      { file: '/etc/crypttab', line: 1, device: '/dev/sdb1', target: 'data', required: true },
      { file: '/etc/crypttab', line: 2, device: 'UUID=1', target: 'lazy', required: false },
    ]);
  });
});
