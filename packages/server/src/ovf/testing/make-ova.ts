import { createHash } from 'node:crypto';
import { tarBlock, tarHeader } from '@virt8ra/contract';

export interface OvaFile {
  readonly name: string;
  readonly content: Buffer;
}

/** A tar archive of these files, in this order. */
export function makeTar(files: readonly OvaFile[]): Buffer {
  const parts = files.flatMap(({ name, content }) => [
    tarHeader(name, content.length),
    content,
    Buffer.alloc((tarBlock - (content.length % tarBlock)) % tarBlock),
  ]);
  return Buffer.concat([...parts, Buffer.alloc(2 * tarBlock)]);
}

/** Descriptor, manifest and disks, as exporters write them. */
export function makeOva(descriptor: string, disks: readonly OvaFile[]): Buffer {
  const first = { name: 'web.ovf', content: Buffer.from(descriptor) };
  const lines = [first, ...disks].map(({ name, content }) => `SHA256(${name})= ${createHash('sha256').update(content).digest('hex')}\n`);
  return makeTar([first, { name: 'web.mf', content: Buffer.from(lines.join('')) }, ...disks]);
}

export interface DescriptorWords {
  readonly files?: string;
  readonly disks?: string;
  readonly items?: string;
  readonly hardware?: string;
  readonly system?: string;
  readonly envelope?: string;
}

export const cpu = (count: number) =>
  `<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>${count}</rasd:VirtualQuantity></Item>`;
export const memory = (count: number, units = 'byte * 2^20') =>
  `<Item><rasd:AllocationUnits>${units}</rasd:AllocationUnits><rasd:InstanceID>2</rasd:InstanceID><rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>${count}</rasd:VirtualQuantity></Item>`;
export const controller = (id: number, type: number, subtype = '') =>
  `<Item><rasd:InstanceID>${id}</rasd:InstanceID><rasd:ResourceSubType>${subtype}</rasd:ResourceSubType><rasd:ResourceType>${type}</rasd:ResourceType></Item>`;
export const diskItem = (id: number, disk: string, parent: number, place: number) =>
  `<Item><rasd:AddressOnParent>${place}</rasd:AddressOnParent><rasd:ElementName>Hard disk ${id}</rasd:ElementName><rasd:HostResource>ovf:/disk/${disk}</rasd:HostResource><rasd:InstanceID>${id}</rasd:InstanceID><rasd:Parent>${parent}</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>`;
export const nicItem = (id: number, network: string, mac = '00:50:56:ab:cd:ef') =>
  `<Item><rasd:Address>${mac}</rasd:Address><rasd:Connection>${network}</rasd:Connection><rasd:InstanceID>${id}</rasd:InstanceID><rasd:ResourceSubType>VmxNet3</rasd:ResourceSubType><rasd:ResourceType>10</rasd:ResourceType></Item>`;
const vmdk = 'http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized';
export const diskEntry = (id: string, file: string | undefined, capacity: number, unit = 'byte', format = vmdk) =>
  `<Disk ovf:diskId="${id}" ovf:capacity="${capacity}" ovf:capacityAllocationUnits="${unit}" ovf:format="${format}"${file === undefined ? '' : ` ovf:fileRef="${file}"`}/>`;

/** A descriptor in VMware's manner. */
export function descriptorOf({ files = '', disks = '', items = '', hardware = '', system = '', envelope = '' }: DescriptorWords): string {
  return `<?xml version="1.0" encoding="UTF-8"?>
<!-- written by a test -->
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:vmw="http://www.vmware.com/schema/ovf"
  xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">
  <References>${files}</References>
  <DiskSection><Info>disks</Info>${disks}</DiskSection>
  ${envelope}
  <VirtualSystem ovf:id="web"><Info>a machine</Info><Name>web &amp; shop</Name>${system}
    <OperatingSystemSection ovf:id="96" vmw:osType="debian10_64Guest"><Info>os</Info><Description>Debian GNU/Linux 12 (64-bit)</Description></OperatingSystemSection>
    <VirtualHardwareSection><Info>hardware</Info>${items}${hardware}</VirtualHardwareSection>
  </VirtualSystem>
</Envelope>`;
}
