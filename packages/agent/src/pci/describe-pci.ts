import type { HostPci, HostPciDevice } from '@virt8ra/contract';
import type { Judged } from './judge-functions.js';
import type { PciSight } from './look.js';
import type { PciClaim } from './pci-claims.js';
import type { PciNames } from './pci-names.js';

/** Classes of what somebody may want to give to a guest: storage, network, display, multimedia, processors, USB, wireless, encryption, accelerators. */
const worthTelling = /^(?:01|02|03|04|0b|0c03|0d|10|12)/;

const unaskedMost = 256;
const askedMost = 768;

/** What a host says of its PCI devices: all that its operator speaks of, and of the others those that may be meant one day. */
export async function describePci(
  { iommu, judged }: PciSight,
  claims: readonly PciClaim[],
  register: Pick<PciNames, 'of'>,
): Promise<HostPci> {
  const isAsked = (each: Judged) => each.type !== 'refused' || each.asked;
  const asked = judged.filter(isAsked).slice(0, askedMost);
  const others = judged.filter((each) => !isAsked(each) && worthTelling.test(each.device.class)).slice(0, unaskedMost);
  const told = [...asked, ...others].toSorted((a, b) => (a.device.address < b.device.address ? -1 : 1));
  const names = await register.of(new Set(told.map(({ device }) => device.id)));
  const held = new Set(claims.flatMap(({ functions: [main] }) => main?.address ?? []));
  return { iommu: { ...iommu }, devices: told.map((each) => describeOne(each, names.get(each.device.id), held.has(each.device.address))) };
}

function describeOne(judged: Judged, name: string | undefined, held: boolean): HostPciDevice {
  const { address, id, class: code, driver, group, node } = judged.device;
  return {
    address,
    id,
    class: code,
    ...(name === undefined ? {} : { name }),
    ...(driver === undefined ? {} : { driver }),
    ...(group === undefined ? {} : { iommuGroup: group }),
    ...(node === undefined ? {} : { numaNode: node }),
    ...(judged.type === 'unit' && judged.unit.gpu !== undefined ? { gpu: { ...judged.unit.gpu } } : {}),
    ...stateOf(judged, held),
  };
}

function stateOf(judged: Judged, held: boolean): Pick<HostPciDevice, 'state' | 'with' | 'reason'> {
  if (judged.type === 'companion') return { state: 'companion', with: judged.unit.main.address };
  if (held) return { state: 'held', ...(judged.type === 'refused' ? { reason: `no other guest will have it: ${judged.reason}` } : {}) };
  return judged.type === 'unit' ? { state: 'offered' } : { state: 'refused', reason: judged.reason };
}
