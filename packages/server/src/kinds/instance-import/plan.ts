import {
  type Address,
  addressFromReference,
  type ImportFinding,
  type InstanceImportPlan,
  type InstanceImportSpec,
  type InstanceSkuSpec,
  instanceSku,
  type StorageSkuSpec,
  storageSku,
} from '@virt8ra/contract';
import type { OvaMachine } from '../../ovf/open-ova.js';
import type { StoreReader } from '../../resources/store.js';
import type { StoredResource } from '../../resources/stored-resource.js';
import { blockStorageBytes } from '../block-storage/index.js';

const gibibyte = 2 ** 30;
/** Of the disks that nobody says a SKU for: the slowest durable one of the host's own that does so many operations a second. */
const iopsLeast = 500;

export interface Planned {
  readonly plan: InstanceImportPlan;
  readonly findings: readonly ImportFinding[];
}

/** What would be made of a machine, as asked. It is only looked up here; whether all of it may be made is seen when it is tried. */
export async function planImport(
  reader: Pick<StoreReader, 'list' | 'get'>,
  address: Address,
  spec: InstanceImportSpec,
  machine: OvaMachine,
): Promise<Planned> {
  const findings: ImportFinding[] = [...machine.findings];
  const name = spec.instanceName ?? address.name;
  const size = await sizeFor(reader, address, spec, machine);
  if (size.finding !== undefined) findings.push(size.finding);
  const boot = spec.boot ?? machine.boot ?? 'BIOS';
  if (spec.boot === undefined && machine.boot === undefined)
    findings.push({
      code: 'boot',
      severity: 'info',
      what: 'the package does not say how it boots; BIOS is taken, as OVF has it',
      where: 'firmware',
      mend: 'say --boot UEFI if it does not start',
    });
  const nics = machine.nics.map(({ network, macAddress }, at): InstanceImportPlan['nics'][number] => {
    const given = spec.networks?.find(({ source }) => source === network);
    if (given === undefined)
      findings.push({
        code: 'network',
        severity: 'warns',
        what: `its NIC in network ${JSON.stringify(network)} is not made: nothing here was named for it`,
        where: `NIC ${at + 1}`,
        mend: `name one: --network ${network}=NETWORK, or NETWORK/SUBNET`,
      });
    else
      findings.push({
        code: 'mac-address',
        severity: 'warns',
        what: `its NIC in network ${JSON.stringify(network)} gets another MAC address and an address of the subnet`,
        where: `NIC ${at + 1}`,
        mend: 'a guest that knows its NIC by MAC address, or has a static address, is to be told; one that asks DHCP on any NIC needs nothing',
      });
    return {
      sourceNetwork: network,
      ...(macAddress === undefined ? {} : { macAddress }),
      ...(given === undefined ? {} : { name: `${name}-nic${at + 1}`, subnetRef: given.subnetRef }),
    };
  });
  for (const { source } of spec.networks ?? [])
    if (!machine.nics.some(({ network }) => network === source))
      findings.push({
        code: 'network-unknown',
        severity: 'blocks',
        what: `the package has no network ${JSON.stringify(source)}; it has ${[...new Set(machine.nics.map(({ network }) => JSON.stringify(network)))].join(', ') || 'none'}`,
        where: 'networks',
        mend: 'name one of those, or leave it out',
      });
  const disks = machine.disks.map(({ file, content, capacityBytes, bus }, at): InstanceImportPlan['disks'][number] => {
    const virtualSizeBytes = Math.max(capacityBytes, content?.virtualSizeBytes ?? 0);
    return {
      name: `${name}-disk${at + 1}`,
      ...(file === undefined || content === undefined ? {} : { file, format: content.format, fileBytes: content.bytes }),
      virtualSizeBytes,
      sizeGB: gigabytesFor(virtualSizeBytes),
      bus,
    };
  });
  if (machine.disks[0]?.content === undefined)
    findings.push({
      code: 'boot-disk',
      severity: 'warns',
      what: 'its first disk is empty, so that nothing starts from it',
      where: 'disk 1',
      mend: 'export the machine with its disks',
    });
  const { sku } = size;
  const plan: InstanceImportPlan = {
    instance: name,
    sourceName: machine.name,
    ...(machine.os === undefined ? {} : { os: machine.os }),
    vCPU: machine.vCPU,
    memoryBytes: machine.memoryBytes,
    boot,
    ...(sku === undefined ? {} : { skuRef: sku }),
    zone: spec.zone ?? 'any',
    disks,
    nics,
  };
  return { plan, findings: findings.slice(0, 256) };
}

/** The smallest size of a block storage that holds so much. */
export function gigabytesFor(bytes: number): number {
  const least = Math.max(1, Math.floor(bytes / 1e9) - 1);
  for (let sizeGB = least; ; sizeGB += 1) if (blockStorageBytes(sizeGB) >= bytes) return sizeGB;
}

interface Sized {
  readonly sku?: NonNullable<InstanceImportPlan['skuRef']>;
  readonly finding?: ImportFinding;
}

async function sizeFor(
  reader: Pick<StoreReader, 'list' | 'get'>,
  address: Address,
  { skuRef }: InstanceImportSpec,
  { vCPU, memoryBytes }: OvaMachine,
): Promise<Sized> {
  const had = `${vCPU} CPUs and ${(memoryBytes / gibibyte).toFixed(memoryBytes % gibibyte === 0 ? 0 : 2)} GiB of memory`;
  const finding = (severity: ImportFinding['severity'], what: string, mend: string): ImportFinding => ({
    code: 'size',
    severity,
    what,
    where: 'hardware',
    mend,
  });
  if (skuRef !== undefined) {
    const given = await reader.get<InstanceSkuSpec>(instanceSku, addressFromReference(instanceSku, skuRef, address, '/spec/skuRef'));
    if (given === undefined || (given.spec.vCPU >= vCPU && given.spec.ram * gibibyte >= memoryBytes)) return { sku: skuRef };
    const what = `it had ${had}, and ${given.address.name} has ${given.spec.vCPU} and ${given.spec.ram} GiB`;
    return { sku: skuRef, finding: finding('warns', what, 'nothing, if it needs no more; else name a larger --sku') };
  }
  const all = (await reader.list<InstanceSkuSpec, unknown>(instanceSku, tenantOf(address), { selector: [], limit: 1000, after: undefined }))
    .items;
  const [best] = all
    .filter(
      ({ spec, extensions }) => spec.gpu === undefined && Object.keys(extensions).every((key) => !/cpu-policy|huge-pages|pci/.test(key)),
    )
    .filter(({ spec }) => spec.vCPU >= vCPU && spec.ram * gibibyte >= memoryBytes)
    .toSorted((one, other) => one.spec.vCPU - other.spec.vCPU || one.spec.ram - other.spec.ram);
  if (best === undefined)
    return { finding: finding('blocks', `it had ${had}, more than any size of the catalogue has`, 'name a size that is enough: --sku') };
  const sku = `${instanceSku.collection}/${best.address.name}`;
  if (best.spec.vCPU === vCPU && best.spec.ram * gibibyte === memoryBytes) return { sku };
  const what = `it had ${had}, and gets ${best.spec.vCPU} and ${best.spec.ram} GiB of ${best.address.name}`;
  return { sku, finding: finding('info', what, 'nothing, or name another --sku') };
}

/** The SKU of disks that nobody named one for. */
export async function storageSkuFor(reader: Pick<StoreReader, 'list'>, address: Address): Promise<string | undefined> {
  const { items } = await reader.list<StorageSkuSpec, unknown>(storageSku, tenantOf(address), {
    selector: [],
    limit: 1000,
    after: undefined,
  });
  const rank = ({ spec }: StoredResource<StorageSkuSpec>): number => (spec.iops >= iopsLeast ? spec.iops : 1e9 - spec.iops);
  const [best] = items.filter(({ spec }) => spec.type === 'local-durable').toSorted((one, other) => rank(one) - rank(other));
  return best === undefined ? undefined : `${storageSku.collection}/${best.address.name}`;
}

function tenantOf({ tenant }: Address): { readonly tenant?: string } {
  return tenant === undefined ? {} : { tenant };
}
