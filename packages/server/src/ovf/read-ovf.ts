import { type ImportFinding, Problem } from '@virt8ra/contract';
import { bytesOfUnit } from './allocation-units.js';
import type { DiskBus, OvfDisk, OvfMachine, OvfNic } from './ovf-machine.js';
import { isPlain } from './tar-members.js';
import { childrenOf, readXml, textOf, type XmlElement } from './xml-tree.js';

const refuse = (reason: string): Problem => new Problem('validation', `the descriptor is refused: ${reason}`);

/** CIM resource types that matter here (DSP0004, CIM_ResourceAllocationSettingData). */
const types = { cpu: 3, memory: 4, ide: 5, scsi: 6, ethernet: 10, floppy: 14, cd: 15, dvd: 16, disk: 17, otherStorage: 20, usb: 23 };
const controllers: Readonly<Record<number, DiskBus>> = { [types.ide]: 'ide', [types.scsi]: 'scsi', [types.otherStorage]: 'sata' };
/** What a machine has by itself here, or does without and never misses. */
const silent: readonly number[] = [types.cpu, types.memory, types.ide, types.scsi, types.ethernet, types.disk, types.otherStorage, 1, 24];

const most = { disks: 16, nics: 16, bytes: 2 ** 53, findings: 128 };

/**
 * What a descriptor says of its machine (OVF 1.0 to 2.1, DSP0243, and what VMware and VirtualBox write into it). Raises `validation` for what is no descriptor, names files elsewhere, or describes no
 * machine that could be made here.
 */
export function readOvf(text: string): OvfMachine {
  const envelope = readXml(text);
  if (envelope.name !== 'Envelope') throw refuse('it is no OVF envelope');
  const collections = childrenOf(envelope, 'VirtualSystemCollection');
  const systems = [...childrenOf(envelope, 'VirtualSystem'), ...collections.flatMap(allSystems)];
  const [system] = systems;
  if (system === undefined) throw refuse('it describes no machine');
  if (systems.length > 1) throw refuse(`it describes ${systems.length} machines; export and import one at a time`);
  const findings: ImportFinding[] = [];
  const note = (code: string, severity: ImportFinding['severity'], what: string, where: string, mend: string): void => {
    if (findings.length < most.findings) findings.push({ code, severity, what: what.slice(0, 1000), where: where.slice(0, 500), mend });
  };
  const [hardware] = childrenOf(system, 'VirtualHardwareSection');
  if (hardware === undefined) throw refuse('its machine has no VirtualHardwareSection');
  const items = itemsOf(envelope, hardware);
  const os = osOf(system);
  const disks = disksOf(envelope, items, note);
  const firmware = firmwareOf(hardware, system, note);
  const nics = nicsOf(items);
  noteOthers(items, system, note);
  if (os !== undefined && /windows/i.test(os))
    note(
      'windows',
      'warns',
      'it is a Windows guest',
      'OperatingSystemSection',
      'install the virtio drivers for disk and network in it before it is exported',
    );
  return {
    name: (textOf(system, 'Name') ?? system.attributes['id'] ?? 'machine').slice(0, 200),
    ...(os === undefined ? {} : { os }),
    vCPU: cpusOf(items),
    memoryBytes: memoryOf(items),
    ...(firmware === undefined ? {} : { boot: firmware }),
    disks,
    nics,
    findings,
  };
}

type Note = (code: string, severity: ImportFinding['severity'], what: string, where: string, mend: string) => void;

interface Item {
  readonly element: XmlElement;
  readonly type: number;
  readonly where: string;
}

function allSystems(collection: XmlElement): readonly XmlElement[] {
  return [...childrenOf(collection, 'VirtualSystem'), ...childrenOf(collection, 'VirtualSystemCollection').flatMap(allSystems)];
}

/** The devices of the configuration that is chosen when nobody chooses. */
function itemsOf(envelope: XmlElement, hardware: XmlElement): readonly Item[] {
  const [options] = childrenOf(envelope, 'DeploymentOptionSection');
  const configurations = childrenOf(options, 'Configuration');
  const chosen = (configurations.find(({ attributes }) => attributes['default'] === 'true') ?? configurations[0])?.attributes['id'];
  return hardware.children
    .filter(({ name }) => name === 'Item' || name === 'StorageItem' || name === 'EthernetPortItem')
    .filter(({ attributes: { configuration, bound } }) => {
      if (bound !== undefined) return false;
      return configuration === undefined || (chosen !== undefined && configuration.split(/\s+/).includes(chosen));
    })
    .map((element) => ({
      element,
      type: Number(textOf(element, 'ResourceType') ?? Number.NaN),
      where: `device ${textOf(element, 'ElementName') ?? textOf(element, 'InstanceID') ?? '?'}`,
    }));
}

function cpusOf(items: readonly Item[]): number {
  const vCPU = items.filter(({ type }) => type === types.cpu).reduce((sum, { element }) => sum + numberOf(element, 'VirtualQuantity'), 0);
  if (vCPU < 1 || vCPU > 4096) throw refuse(`its machine has ${vCPU} processors`);
  return vCPU;
}

function memoryOf(items: readonly Item[]): number {
  let bytes = 0;
  for (const { element } of items.filter(({ type }) => type === types.memory)) {
    const unit = bytesOfUnit(textOf(element, 'AllocationUnits') ?? 'byte * 2^20');
    if (unit === undefined)
      throw refuse(`memory in ${JSON.stringify(textOf(element, 'AllocationUnits')?.slice(0, 60))} cannot be understood`);
    bytes += numberOf(element, 'VirtualQuantity') * unit;
  }
  if (bytes < 2 ** 20 || bytes > 2 ** 46) throw refuse(`its machine has ${bytes} bytes of memory`);
  return bytes;
}

function disksOf(envelope: XmlElement, items: readonly Item[], note: Note): readonly OvfDisk[] {
  const files = new Map(
    childrenOf(childrenOf(envelope, 'References')[0], 'File').map((file) => [file.attributes['id'] ?? '', file.attributes]),
  );
  const described = new Map(
    childrenOf(childrenOf(envelope, 'DiskSection')[0], 'Disk').map((disk) => [disk.attributes['diskId'] ?? '', disk.attributes]),
  );
  const buses = new Map(items.map((item) => [textOf(item.element, 'InstanceID') ?? '', busOf(item)]));
  const order = items
    .filter(({ type }) => type === types.disk)
    .map((item, at) => ({ item, at, place: Number(textOf(item.element, 'AddressOnParent') ?? at) }));
  // Controllers in their order in the package, and on each by address.
  const controllerOf = ({ element }: Item): number =>
    items.findIndex((other) => textOf(other.element, 'InstanceID') === textOf(element, 'Parent'));
  const sorted = order.toSorted(
    (one, other) => controllerOf(one.item) - controllerOf(other.item) || one.place - other.place || one.at - other.at,
  );
  if (sorted.length === 0) throw refuse('its machine has no disk');
  if (sorted.length > most.disks) throw refuse(`its machine has ${sorted.length} disks; ${most.disks} are possible`);
  const seen = new Set<string>();
  return sorted.map(({ item }) => {
    const [, id = ''] = /^(?:ovf:)?\/disk\/(.+)$/.exec(textOf(item.element, 'HostResource') ?? '') ?? [];
    const disk = described.get(id);
    if (disk === undefined) throw refuse(`${item.where} is no disk of its DiskSection`);
    if (seen.has(id)) throw refuse(`disk ${id.slice(0, 60)} is attached twice`);
    seen.add(id);
    if (disk['parentRef'] !== undefined) throw refuse(`disk ${id.slice(0, 60)} is the difference to another; export it whole`);
    const bus = buses.get(textOf(item.element, 'Parent') ?? '') ?? 'unknown';
    if (bus !== 'virtio')
      note(
        'disk-bus',
        'warns',
        `disk ${id} was on ${bus === 'unknown' ? 'a controller that is not known' : bus}, and is on virtio here`,
        item.where,
        'the guest needs the driver virtio_blk when it starts: have it in its initramfs before it is exported; most Linux distributions do',
      );
    return diskOf(id, disk, files, bus);
  });
}

function diskOf(
  id: string,
  disk: Readonly<Record<string, string>>,
  files: ReadonlyMap<string, Readonly<Record<string, string>>>,
  bus: DiskBus,
): OvfDisk {
  const unit = bytesOfUnit(disk['capacityAllocationUnits'] ?? 'byte');
  const capacity = /^\d{1,19}$/.test(disk['capacity'] ?? '') ? Number(disk['capacity']) : Number.NaN;
  const capacityBytes = capacity * (unit ?? Number.NaN);
  if (!(capacityBytes >= 512 && capacityBytes <= most.bytes))
    throw refuse(`disk ${id.slice(0, 60)} has no capacity that can be understood`);
  const isRaw = /(^|[/#.:])raw$/i.test(disk['format'] ?? '');
  const { fileRef } = disk;
  if (fileRef === undefined || fileRef === '') return { id: id.slice(0, 200), isRaw, capacityBytes, bus };
  const file = files.get(fileRef);
  const href = file?.['href'] ?? '';
  if (file === undefined) throw refuse(`disk ${id.slice(0, 60)} refers to a file that References does not have`);
  if (!isPlain(href))
    throw refuse(`${JSON.stringify(href.slice(0, 100))} is no file of the package; its files stand beside the descriptor`);
  if (file['chunkSize'] !== undefined) throw refuse(`${JSON.stringify(href)} is cut into chunks; export it in one piece`);
  if (file['compression'] !== undefined && file['compression'] !== '' && file['compression'] !== 'identity')
    throw refuse(`${JSON.stringify(href)} is compressed by ${file['compression'].slice(0, 20)}; export it without`);
  const size = file['size'];
  return {
    id: id.slice(0, 200),
    file: href,
    ...(size !== undefined && /^\d{1,15}$/.test(size) ? { fileBytes: Number(size) } : {}),
    isRaw,
    capacityBytes,
    bus,
  };
}

function busOf({ element, type }: Item): DiskBus {
  const subtype = (textOf(element, 'ResourceSubType') ?? '').toLowerCase();
  if (/^virtio/.test(subtype)) return 'virtio';
  if (/nvme/.test(subtype)) return 'nvme';
  if (/sata|ahci/.test(subtype)) return 'sata';
  return controllers[type] ?? 'unknown';
}

function nicsOf(items: readonly Item[]): readonly OvfNic[] {
  const nics = items.filter(({ type }) => type === types.ethernet);
  if (nics.length > most.nics) throw refuse(`its machine has ${nics.length} NICs; ${most.nics} are possible`);
  return nics.map(({ element }) => {
    const given = (textOf(element, 'MACAddress') ?? textOf(element, 'Address') ?? '').toLowerCase().replaceAll('-', ':');
    const joined = /^[0-9a-f]{12}$/.test(given) ? (given.match(/../g) ?? []).join(':') : given;
    return {
      network: (textOf(element, 'Connection') ?? '').slice(0, 256),
      ...(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(joined) ? { macAddress: joined } : {}),
    };
  });
}

function osOf(system: XmlElement): string | undefined {
  const section = childrenOf(system, 'OperatingSystemSection')[0];
  const text = textOf(section, 'Description') ?? section?.attributes['osType'];
  return text?.slice(0, 200);
}

function firmwareOf(hardware: XmlElement, system: XmlElement, note: Note): 'UEFI' | 'BIOS' | undefined {
  const configured = new Map(
    [...childrenOf(hardware, 'Config'), ...childrenOf(hardware, 'ExtraConfig')].map(({ attributes }) => [
      (attributes['key'] ?? '').toLowerCase(),
      (attributes['value'] ?? '').toLowerCase(),
    ]),
  );
  if (configured.get('bootoptions.efisecurebootenabled') === 'true' || configured.get('uefi.secureboot.enabled') === 'true')
    note(
      'secure-boot',
      'warns',
      'it boots with Secure Boot, and here without',
      'firmware',
      'a guest that insists on it, or disks sealed to it, will not start: end that before it is exported',
    );
  const [box] = childrenOf(childrenOf(childrenOf(system, 'Machine')[0], 'Hardware')[0], 'Firmware');
  const boxed = box?.attributes['type']?.toLowerCase();
  const given = configured.get('firmware') ?? boxed;
  if (given === undefined) return undefined;
  return given.startsWith('efi') ? 'UEFI' : 'BIOS';
}

function noteOthers(items: readonly Item[], system: XmlElement, note: Note): void {
  for (const { type, element, where } of items) {
    if (silent.includes(type)) continue;
    const what = textOf(element, 'ElementName') ?? textOf(element, 'Description') ?? `a device of type ${type}`;
    if ((type === types.cd || type === types.dvd) && textOf(element, 'HostResource') !== undefined)
      note(
        'medium',
        'warns',
        `${what} holds a medium, which does not come along`,
        where,
        'bring it in as an image of its own if the guest needs it',
      );
    else note('device', 'info', `${what} is not made here`, where, 'nothing, unless the guest needs it');
  }
  for (const { name } of system.children) {
    if (name === 'ProductSection' && childrenOf(system, name).some((section) => childrenOf(section, 'Property').length > 0))
      note(
        'properties',
        'warns',
        'it is told its settings as OVF properties, which no guest is told here',
        name,
        'set it up by cloud-init user data instead',
      );
    if (name === 'EulaSection') note('licence', 'info', 'it comes with a licence text', name, 'read it in the descriptor');
  }
}

function numberOf(element: XmlElement, name: string): number {
  const text = textOf(element, name) ?? '';
  if (!/^\d{1,15}$/.test(text)) throw refuse(`${name} is ${JSON.stringify(text.slice(0, 40))}, no number`);
  return Number(text);
}
