import { type Static, Type } from 'typebox';
import { gpuVendors } from '../kinds/sku.js';
import { oneOf } from '../shape.js';

/** Vendor and device id of a PCI device, such as `10de:27b8`. */
export const PciId = Type.String({ pattern: '^[0-9a-f]{4}:[0-9a-f]{4}$' });

/** PCI devices of its host that a guest has for itself. */
export const DesiredPciDevice = Type.Object(
  { id: PciId, count: Type.Integer({ minimum: 1, maximum: 16 }) },
  { additionalProperties: false },
);
export type DesiredPciDevice = Static<typeof DesiredPciDevice>;

/**
 * `offered`: a guest may have it. `held`: one has it, or keeps it while it is off. `companion`: it is in the IOMMU group of the device `with` and goes
 * with that. `refused`: no guest can have it, `reason` says why.
 */
export const pciDeviceStates = ['offered', 'held', 'companion', 'refused'] as const;

/** One PCI function of a host, bridges and other parts of its chipset left out. */
export const HostPciDevice = Type.Object({
  address: Type.String({ maxLength: 32 }),
  id: Type.String({ maxLength: 16 }),
  /** Four hexadecimal digits: class and subclass. */
  class: Type.String({ maxLength: 8 }),
  /** As the host's register has it (pci.ids); absent where it has none. */
  name: Type.Optional(Type.String({ maxLength: 128 })),
  driver: Type.Optional(Type.String({ maxLength: 64 })),
  iommuGroup: Type.Optional(Type.Integer()),
  numaNode: Type.Optional(Type.Integer()),
  /** Which GPU it is, as the host's operator says. */
  gpu: Type.Optional(Type.Object({ vendor: oneOf(gpuVendors), model: Type.String({ maxLength: 64 }), ram: Type.Integer() })),
  state: oneOf(pciDeviceStates),
  with: Type.Optional(Type.String({ maxLength: 32 })),
  reason: Type.Optional(Type.String({ maxLength: 1024 })),
});
export type HostPciDevice = Static<typeof HostPciDevice>;

/** What a host can give to guests of its own devices, and why not more. */
export const HostPci = Type.Object({
  iommu: Type.Object({ on: Type.Boolean(), reason: Type.String({ maxLength: 1024 }) }),
  devices: Type.Array(HostPciDevice, { maxItems: 1024 }),
});
export type HostPci = Static<typeof HostPci>;

/** A PCI device that a running guest has. */
export const ObservedPciDevice = Type.Object({ id: Type.String({ maxLength: 16 }), address: Type.String({ maxLength: 32 }) });
