import { readFile } from 'node:fs/promises';
import { cpuPolicies, hugePageSizes, instanceSku, Problem, pciNeedsFrom } from '@virt8ra/contract';
import type { Static } from 'typebox';
import { Value } from 'typebox/value';

/** An instance SKU that the operator sells beside those of the release. */
export interface OwnSku {
  readonly name: string;
  readonly spec: Static<typeof instanceSku.spec>;
  readonly extensions: Readonly<Record<string, string>>;
}

/** What a SKU's extension may say. */
const extensionFaults: Readonly<Record<string, (text: string) => string | undefined>> = {
  'virt8ra.cpu-policy': (text) => oneOfFault(text, cpuPolicies),
  'virt8ra.huge-pages': (text) => oneOfFault(text, hugePageSizes),
  'virt8ra.pci': (text) => {
    try {
      return pciNeedsFrom(text).length === 0 ? 'must name a device' : undefined;
    } catch (error) {
      return `must be ${(error as Error).message}`;
    }
  },
};

/** The file's SKUs; none without a file. Raises `validation` with the pointer of the first thing that is wrong. */
export async function readOwnSkus(path: string | undefined): Promise<readonly OwnSku[]> {
  if (path === undefined) return [];
  let document: unknown;
  try {
    document = JSON.parse(await readFile(path, 'utf8'));
  } catch (cause) {
    throw new Problem('validation', `the file of instance SKUs ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
  if (!isRecord(document)) throw wrong(path, '', 'must be an object with the SKUs by their names');
  return Object.entries(document).map(([name, value]) => ownSku(path, name, value));
}

function ownSku(path: string, name: string, value: unknown): OwnSku {
  const at = `/${name}`;
  if (!/^[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?$/.test(name))
    throw wrong(path, at, 'is no name: lower-case letters, digits, dots and dashes');
  if (/^(?:seca|virt8ra)\./.test(name)) throw wrong(path, at, 'begins like a SKU of the release; choose a prefix of your own');
  if (!isRecord(value)) throw wrong(path, at, 'must be an object');
  const { extensions = {}, ...spec } = value;
  const [field] = Object.keys(spec).filter((key) => !['vCPU', 'ram', 'gpu'].includes(key));
  if (field !== undefined) throw wrong(path, `${at}/${field}`, 'is none of vCPU, ram, gpu and extensions');
  if (!Value.Check(instanceSku.spec, spec)) {
    const [error] = Value.Errors(instanceSku.spec, spec);
    throw wrong(path, `${at}${error?.instancePath ?? ''}`, error?.message ?? 'is no size of an instance');
  }
  if (!isRecord(extensions)) throw wrong(path, `${at}/extensions`, 'must be an object');
  const checked: Record<string, string> = {};
  for (const [key, text] of Object.entries(extensions)) {
    const pointer = `${at}/extensions/${key}`;
    const fault = extensionFaults[key];
    if (fault === undefined) throw wrong(path, pointer, `is none of ${Object.keys(extensionFaults).join(', ')}`);
    if (typeof text !== 'string') throw wrong(path, pointer, 'must be a text');
    const said = fault(text);
    if (said !== undefined) throw wrong(path, pointer, said);
    checked[key] = text;
  }
  return { name, spec, extensions: checked };
}

function oneOfFault(text: string, words: readonly string[]): string | undefined {
  return words.includes(text) ? undefined : `must be one of ${words.join(', ')}`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(path: string, pointer: string, message: string): Problem {
  return new Problem('validation', `${pointer} of ${path} ${message}`, { sources: [{ pointer }] });
}
