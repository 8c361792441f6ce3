/**
 * Where devices sit on the guest's PCI bus. Fixed by kind and position, eight to a slot, so that one more disk renames no network
 * interface and both ends of a move agree. Slots 0, 1 and 31 belong to the chipset. Behind each `port` is one disk that may come and go while the
 * guest runs; only the boot disk is on the bus itself. Behind each `hostDevicePort` is one device of the host with all its functions.
 */
const firstSlot = {
  nic: 0x02,
  rng: 0x05,
  bootDisk: 0x06,
  port: 0x07,
  channels: 0x0f,
  balloon: 0x10,
  hostDevicePort: 0x11,
  rescue: 0x1c,
  screen: 0x1d,
  seed: 0x1e,
} as const;

/** Device options that place the `index`th device of a kind. */
export function pciAddress(kind: keyof typeof firstSlot, index = 0): string {
  const slot = firstSlot[kind] + Math.floor(index / 8);
  const position = index % 8;
  return `addr=0x${slot.toString(16)}.0x${position}${position === 0 ? ',multifunction=on' : ''}`;
}
