/** A machine that is to be written down. */
export interface WrittenMachine {
  readonly name: string;
  readonly vCPU: number;
  readonly memoryMiB: number;
  readonly boot: 'UEFI' | 'BIOS';
  /** Boot disk first; all stream-optimised VMDK. */
  readonly disks: readonly { readonly file: string; readonly fileBytes: number; readonly virtualSizeBytes: number }[];
  readonly nics: readonly { readonly network: string; readonly macAddress?: string }[];
}

const streamOptimized = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized';

/** The OVF 1.0 descriptor of a machine, as most hypervisors read it: disks on one SCSI controller, NICs by the names of their networks. */
export function writeOvf({ name, vCPU, memoryMiB, boot, disks, nics }: WrittenMachine): string {
  const networks = [...new Set(nics.map(({ network }) => network))];
  const scsi = 3;
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"',
    '    xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"',
    '    xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"',
    '    xmlns:vmw="http://www.vmware.com/schema/ovf">',
    '  <ovf:References>',
    ...disks.map(({ file, fileBytes }, at) => `    <ovf:File ovf:id="file${at + 1}" ovf:href="${escaped(file)}" ovf:size="${fileBytes}"/>`),
    '  </ovf:References>',
    '  <ovf:DiskSection>',
    '    <ovf:Info>Disks</ovf:Info>',
    ...disks.map(
      ({ virtualSizeBytes }, at) =>
        `    <ovf:Disk ovf:diskId="disk${at + 1}" ovf:fileRef="file${at + 1}" ovf:capacity="${virtualSizeBytes}" ovf:capacityAllocationUnits="byte" ovf:format="${streamOptimized}"/>`,
    ),
    '  </ovf:DiskSection>',
    ...(networks.length === 0
      ? []
      : [
          '  <ovf:NetworkSection>',
          '    <ovf:Info>Networks</ovf:Info>',
          ...networks.map((network) => `    <ovf:Network ovf:name="${escaped(network)}"/>`),
          '  </ovf:NetworkSection>',
        ]),
    `  <ovf:VirtualSystem ovf:id="${escaped(name)}">`,
    '    <ovf:Info>A virtual machine</ovf:Info>',
    `    <ovf:Name>${escaped(name)}</ovf:Name>`,
    '    <ovf:OperatingSystemSection ovf:id="101">',
    '      <ovf:Info>Operating system</ovf:Info>',
    '    </ovf:OperatingSystemSection>',
    '    <ovf:VirtualHardwareSection>',
    '      <ovf:Info>Hardware</ovf:Info>',
    ...item(1, 3, `${vCPU} CPUs`, [
      ['AllocationUnits', 'hertz * 10^6'],
      ['VirtualQuantity', vCPU],
    ]),
    ...item(2, 4, `${memoryMiB} MiB of memory`, [
      ['AllocationUnits', 'byte * 2^20'],
      ['VirtualQuantity', memoryMiB],
    ]),
    ...item(scsi, 6, 'SCSI controller', [
      ['Address', 0],
      ['ResourceSubType', 'lsilogic'],
    ]),
    ...disks.flatMap((_disk, at) =>
      item(10 + at, 17, `disk ${at + 1}`, [
        ['AddressOnParent', at < 7 ? at : at + 1],
        ['HostResource', `ovf:/disk/disk${at + 1}`],
        ['Parent', scsi],
      ]),
    ),
    ...nics.flatMap(({ network, macAddress }, at) =>
      item(50 + at, 10, `NIC ${at + 1}`, [
        ...(macAddress === undefined ? [] : [['Address', macAddress] as const]),
        ['AutomaticAllocation', 'true'],
        ['Connection', network],
        ['ResourceSubType', 'E1000'],
      ]),
    ),
    `      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="${boot === 'UEFI' ? 'efi' : 'bios'}"/>`,
    '    </ovf:VirtualHardwareSection>',
    '  </ovf:VirtualSystem>',
    '</ovf:Envelope>',
    '',
  ];
  return lines.join('\n');
}

/** Members of an item stand in the order of the alphabet: its schema asks for that. */
function item(id: number, type: number, name: string, members: readonly (readonly [string, string | number])[]): readonly string[] {
  const all = [...members, ['ElementName', name], ['InstanceID', id], ['ResourceType', type]] as const;
  const sorted = all.toSorted(([one], [other]) => (one < other ? -1 : 1));
  return [
    '      <ovf:Item>',
    ...sorted.map(([member, value]) => `        <rasd:${member}>${escaped(String(value))}</rasd:${member}>`),
    '      </ovf:Item>',
  ];
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
