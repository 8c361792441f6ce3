import { Problem } from '@virt8ra/contract/plain';

/** What a GPU is, in the words of an instance SKU: its operator says so, since no register of a device tells how it is sold. */
export interface GpuName {
  readonly model: string;
  /** GB of video memory. */
  readonly ram: number;
}

/** One entry of `--pci-devices`: devices that guests of this host may have. */
export type Allowance = { readonly gpu?: GpuName } & (
  | { readonly by: 'id'; readonly id: string }
  | { readonly by: 'address'; readonly address: string }
  | { readonly by: 'class'; readonly class: string }
);

/** Makers of GPUs by their PCI vendor id. */
export const gpuVendors: Readonly<Record<string, 'nvidia' | 'amd' | 'intel'>> = { '10de': 'nvidia', '1002': 'amd', '8086': 'intel' };

const form =
  '--pci-devices is a list of vendor:device ids, addresses and classes, such as 10de:27b8=L4/24,0000:41:00.0,class:0108; `lspci -nn` shows them';

/** Raises Problem validation that names what is wrong. */
export function parseAllowances(text: string | undefined): readonly Allowance[] {
  if (text === undefined || text.trim() === '') return [];
  return text.split(',').map((part) => parseOne(part.trim()));
}

function parseOne(entry: string): Allowance {
  const [, device = '', name] = /^([^=]+?)(?:=(.*))?$/.exec(entry) ?? [];
  const gpu = name === undefined ? {} : { gpu: gpuName(name, entry) };
  const text = device.toLowerCase();
  if (/^[0-9a-f]{4}:[0-9a-f]{4}$/.test(text)) {
    if (name !== undefined && gpuVendors[text.slice(0, 4)] === undefined)
      throw new Problem('validation', `--pci-devices names a GPU in ${entry}, and ${text.slice(0, 4)} is no maker of GPUs that SKUs know`);
    return { by: 'id', id: text, ...gpu };
  }
  if (/^(?:[0-9a-f]{4,}:)?[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]$/.test(text))
    return { by: 'address', address: text.split(':').length === 2 ? `0000:${text}` : text, ...gpu };
  const [, code] = /^class:([0-9a-f]{2}(?:[0-9a-f]{2})?)$/.exec(text) ?? [];
  // A class has many models, and one name cannot be all of them.
  if (code !== undefined && name === undefined) return { by: 'class', class: code };
  throw new Problem('validation', `${form}; not ${entry}`);
}

function gpuName(text: string, entry: string): GpuName {
  const [, model, ram] = /^([^/]{1,64})\/(\d{1,3})$/.exec(text.trim()) ?? [];
  if (model === undefined || Number(ram) < 1 || Number(ram) > 256)
    throw new Problem('validation', `--pci-devices names a GPU as MODEL/GB of its memory, such as 10de:27b8=L4/24; not ${entry}`);
  return { model: model.trim(), ram: Number(ram) };
}

/** The entry that lets guests have a device: an address says more than an id, an id more than a class. */
export function allowanceFor(
  allowances: readonly Allowance[],
  device: { readonly address: string; readonly id: string; readonly class: string },
): Allowance | undefined {
  return (
    allowances.find((entry) => entry.by === 'address' && entry.address === device.address) ??
    allowances.find((entry) => entry.by === 'id' && entry.id === device.id) ??
    allowances.find((entry) => entry.by === 'class' && device.class.startsWith(entry.class))
  );
}
