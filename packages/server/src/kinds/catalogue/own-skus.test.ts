import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { readOwnSkus } from './own-skus.js';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'virt8ra-skus-'));
});
afterAll(async () => await rm(folder, { recursive: true }));

const read = async (content: string) => {
  const path = join(folder, 'skus.json');
  await writeFile(path, content);
  return await readOwnSkus(path);
};

it('reads sizes with GPUs and with other PCI devices', async () => {
  const gpu = { count: 1, vendor: 'nvidia', model: 'L4', ram: 24 };
  const skus = { 'acme.g1': { vCPU: 4, ram: 16, gpu }, 'acme.q1': { vCPU: 2, ram: 4, extensions: { 'virt8ra.pci': '8086:4940=2' } } };
  expect(await read(JSON.stringify(skus))).toEqual([
    { name: 'acme.g1', spec: { vCPU: 4, ram: 16, gpu }, extensions: {} },
    { name: 'acme.q1', spec: { vCPU: 2, ram: 4 }, extensions: { 'virt8ra.pci': '8086:4940=2' } },
  ]);
  expect(await readOwnSkus(undefined)).toEqual([]);
});

it.each([
  ['{', 'cannot be read'],
  ['[]', 'must be an object'],
  ['{"seca.s":{"vCPU":1,"ram":1}}', 'begins like a SKU of the release'],
  ['{"Acme":{"vCPU":1,"ram":1}}', 'is no name'],
  ['{"a.b":{"vCPU":0,"ram":1}}', '/a.b/vCPU'],
  ['{"a.b":{"vCPU":1,"ram":1,"disk":1}}', '/a.b/disk'],
  ['{"a.b":{"vCPU":1,"ram":1,"gpu":{"count":1,"vendor":"acme","model":"x","ram":1}}}', '/a.b/gpu/vendor'],
  ['{"a.b":{"vCPU":1,"ram":1,"extensions":{"virt8ra.pci":"8086"}}}', 'a list of vendor:device ids'],
  ['{"a.b":{"vCPU":1,"ram":1,"extensions":{"virt8ra.pci":"8086:1,8086:1"}}}', '/a.b/extensions/virt8ra.pci'],
  ['{"a.b":{"vCPU":1,"ram":1,"extensions":{"virt8ra.colour":"red"}}}', 'is none of virt8ra.cpu-policy'],
])('refuses %s and says where it is wrong', async (content, said) => {
  await expect(read(content)).rejects.toMatchObject({ kind: 'validation', message: expect.stringContaining(said) });
});
