import { describe, expect, it } from 'vitest';
import { bytesOfUnit } from './allocation-units.js';
import { readOvf } from './read-ovf.js';
import { controller, cpu, descriptorOf, diskEntry, diskItem, memory, nicItem } from './testing/make-ova.js';
import { writeOvf } from './write-ovf.js';

const whole = {
  files: '<File ovf:id="f1" ovf:href="web-disk1.vmdk" ovf:size="1000"/><File ovf:id="f2" ovf:href="data.img"/>',
  disks: `${diskEntry('d1', 'f1', 8, 'byte * 2^30')}${diskEntry('d2', 'f2', 1048576, 'byte', 'http://example.org/raw')}${diskEntry('d3', undefined, 2, 'GigaBytes')}`,
  items: [
    cpu(2),
    memory(4096),
    controller(3, 6, 'VirtualSCSI'),
    controller(4, 5),
    // Neither by the order of their items nor by that of their entries: by controller and address.
    diskItem(12, 'd3', 4, 0),
    diskItem(10, 'd2', 3, 1),
    diskItem(11, 'd1', 3, 0),
    nicItem(20, 'VM Network'),
    nicItem(21, 'storage', '005056-abcd01'),
  ].join(''),
};

describe('a descriptor', () => {
  it('tells of the machine, its disks in the order that it has them, and what cannot be carried over', () => {
    const machine = readOvf(
      descriptorOf({
        ...whole,
        hardware: `<Item><rasd:ElementName>CD 1</rasd:ElementName><rasd:HostResource>ovf:/file/iso</rasd:HostResource><rasd:InstanceID>30</rasd:InstanceID><rasd:ResourceType>15</rasd:ResourceType></Item>
          <Item><rasd:ElementName>Sound</rasd:ElementName><rasd:InstanceID>31</rasd:InstanceID><rasd:ResourceType>35</rasd:ResourceType></Item>
          <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="efi"/><vmw:Config vmw:key="bootOptions.efiSecureBootEnabled" vmw:value="true"/>`,
        system: '<ProductSection><Info/><Property ovf:key="ip"/></ProductSection><EulaSection><License>…</License></EulaSection>',
      }),
    );
    expect(machine).toMatchObject({
      name: 'web & shop',
      os: 'Debian GNU/Linux 12 (64-bit)',
      vCPU: 2,
      memoryBytes: 4 * 2 ** 30,
      boot: 'UEFI',
      disks: [
        { id: 'd1', file: 'web-disk1.vmdk', fileBytes: 1000, capacityBytes: 8 * 2 ** 30, bus: 'scsi', isRaw: false },
        { id: 'd2', file: 'data.img', capacityBytes: 1048576, bus: 'scsi', isRaw: true },
        { id: 'd3', capacityBytes: 2 * 2 ** 30, bus: 'ide', isRaw: false },
      ],
      nics: [{ network: 'VM Network', macAddress: '00:50:56:ab:cd:ef' }, { network: 'storage' }],
    });
    expect(machine.findings.map(({ code }) => code).toSorted()).toEqual(
      ['device', 'disk-bus', 'disk-bus', 'disk-bus', 'licence', 'medium', 'properties', 'secure-boot'].toSorted(),
    );
  });

  it('is read as VirtualBox writes it, and of several configurations that which is chosen by itself', () => {
    const text = descriptorOf({
      ...whole,
      items: `${cpu(1).replace('<Item', '<Item ovf:configuration="small"')}${cpu(4).replace('<Item', '<Item ovf:configuration="large"')}
        ${memory(512, 'MegaBytes')}${memory(1, 'MegaBytes').replace('<Item', '<Item ovf:bound="min"')}${controller(3, 20, 'AHCI')}${diskItem(9, 'd1', 3, 0)}`,
      envelope:
        '<DeploymentOptionSection><Info/><Configuration ovf:id="small"/><Configuration ovf:id="large" ovf:default="true"/></DeploymentOptionSection>',
      system: '<vbox:Machine xmlns:vbox="x"><Hardware><Firmware type="EFI"/></Hardware></vbox:Machine>',
    });
    expect(readOvf(text)).toMatchObject({ vCPU: 4, memoryBytes: 512 * 2 ** 20, boot: 'UEFI', disks: [{ bus: 'sata' }], nics: [] });
  });

  it('is what is written of an instance', () => {
    const machine = {
      name: 'web',
      vCPU: 2,
      memoryMiB: 2048,
      boot: 'UEFI' as const,
      disks: Array.from({ length: 9 }, (_, at) => ({ file: `web-disk${at + 1}.vmdk`, fileBytes: 100 + at, virtualSizeBytes: 1000341504 })),
      nics: [{ network: 'lan & "wan"', macAddress: '02:00:00:00:00:01' }],
    };
    expect(readOvf(writeOvf(machine))).toMatchObject({
      name: 'web',
      vCPU: 2,
      memoryBytes: 2048 * 2 ** 20,
      boot: 'UEFI',
      disks: machine.disks.map(({ file, fileBytes }) => ({ file, fileBytes, capacityBytes: 1000341504, bus: 'scsi' })),
      nics: machine.nics,
    });
  });

  const bomb = `<!DOCTYPE a [<!ENTITY a "ha">${Array.from({ length: 9 }, (_, at) => `<!ENTITY a${at} "${'&a;'.repeat(10)}">`).join('')}]>`;
  it.each([
    ['grows without bound', descriptorOf(whole).replace('<!--', `${bomb}<!--`), 'document type'],
    ['fetches what it names', descriptorOf(whole).replace('<!--', '<!DOCTYPE a SYSTEM "file:///etc/passwd"><!--'), 'document type'],
    ['uses an entity of its own', descriptorOf(whole).replace('&amp;', '&xxe;'), 'entity'],
    ['is nested without end', `${'<a>'.repeat(100)}${'</a>'.repeat(100)}`, '64 levels'],
    ['has elements without end', `<a>${'<b/>'.repeat(20_001)}</a>`, '20000 elements'],
    ['is cut short', descriptorOf(whole).slice(0, 900), 'cut short'],
    ['is cut short in a tag', descriptorOf(whole).slice(0, 120), 'cut short'],
    ['is none', '<html></html>', 'no OVF envelope'],
    ['is no XML', 'hello', 'no XML'],
    ['has two roots', '<a/><b/>', 'one root'],
    ['closes what it did not open', '<a></b></a>', 'not begun'],
    ['leads elsewhere', descriptorOf({ ...whole, files: '<File ovf:id="f1" ovf:href="../../etc/shadow"/>' }), 'no file of the package'],
    ['leads to a URL', descriptorOf({ ...whole, files: '<File ovf:id="f1" ovf:href="http://10.0.0.1/disk"/>' }), 'no file of the package'],
    ['is in chunks', descriptorOf({ ...whole, files: '<File ovf:id="f1" ovf:href="a.vmdk" ovf:chunkSize="7"/>' }), 'chunks'],
    [
      'is compressed',
      descriptorOf({ ...whole, files: '<File ovf:id="f1" ovf:href="a.vmdk" ovf:compression="gzip"/>' }),
      'compressed by gzip',
    ],
    ['refers to no file', descriptorOf({ ...whole, files: '' }), 'References does not have'],
    ['refers to no disk', descriptorOf({ ...whole, disks: '' }), 'no disk of its DiskSection'],
    ['attaches a disk twice', descriptorOf({ ...whole, items: whole.items.replace('disk/d2', 'disk/d1') }), 'attached twice'],
    [
      'is a difference',
      descriptorOf({ ...whole, disks: whole.disks.replace('ovf:diskId="d1"', 'ovf:diskId="d1" ovf:parentRef="d2"') }),
      'difference',
    ],
    ['has absurd disks', descriptorOf({ ...whole, disks: whole.disks.replace('"8"', '"8888888888888888888"') }), 'no capacity'],
    ['has units that are none', descriptorOf({ ...whole, disks: whole.disks.replace('byte * 2^30', 'furlong') }), 'no capacity'],
    ['has no processors', descriptorOf({ ...whole, items: whole.items.replace(cpu(2), '') }), '0 processors'],
    ['has processors that are no number', descriptorOf({ ...whole, items: whole.items.replace(cpu(2), cpu(Number.NaN)) }), 'no number'],
    ['has absurd memory', descriptorOf({ ...whole, items: whole.items.replace(memory(4096), memory(2 ** 40)) }), 'bytes of memory'],
    ['has no disks', descriptorOf({ ...whole, items: cpu(1) + memory(512) }), 'no disk'],
    ['is of several machines', descriptorOf(whole).replace('<VirtualSystem ', '<VirtualSystem ovf:id="o"/><VirtualSystem '), '2 machines'],
    ['is of none', '<Envelope></Envelope>', 'no machine'],
  ])('is refused when it %s', (_what, text, reason) => {
    expect(() => readOvf(text)).toThrow(reason);
    expect(() => readOvf(text)).toThrow(expect.objectContaining({ kind: 'validation' }) as Error);
  });
});

describe('units', () => {
  it('are those of CIM and what people wrote before', () => {
    expect(['byte', 'byte * 2^20', 'byte*2^30', 'MegaBytes', 'GB', 'byte * 1024'].map(bytesOfUnit)).toEqual([
      1,
      2 ** 20,
      2 ** 30,
      2 ** 20,
      2 ** 30,
      1024,
    ]);
    expect(['', 'hertz', 'byte * x', 'byte * 2^999', 'byte * 0'].map(bytesOfUnit)).toEqual(Array.from({ length: 5 }, () => undefined));
  });
});
