import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type ControlPlane, startControlPlane } from '@virt8ra/server/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { compareApis, type Difference, distinct, type OpenApi, type Schema } from './compare.js';

const contracts = fileURLToPath(new URL('../../../shared/openapi/seca', import.meta.url));
const page = new URL('../../docs/seca.md', import.meta.url);

interface Row {
  readonly where: string;
  readonly what: string;
  readonly reason: string;
}

let plane: ControlPlane;
beforeAll(async () => {
  plane = await startControlPlane();
}, 120_000);
afterAll(async () => await plane.stop(), 60_000);

/** The table of the page: `| where | what | reason |`, with `*` for any text. */
async function rowsOfPage(): Promise<readonly Row[]> {
  const text = await readFile(page, 'utf8');
  const section = /## Differences from the contract\n([\s\S]*?)(?=\n## |$)/.exec(text)?.[1] ?? '';
  return section.split('\n').flatMap((line) => {
    const cells = /^\| `(.+?)` \| (.+?) \| (.+) \|$/.exec(line);
    return cells === null ? [] : [{ where: cells[1] ?? '', what: (cells[2] ?? '').replaceAll('\\|', '|'), reason: cells[3] ?? '' }];
  });
}

/** The contract with what was added to it after its release. */
async function withGpu(theirs: OpenApi): Promise<OpenApi> {
  const { schema } = parse(await readFile(`${contracts}/overlay-post-v1.7-gpu.yaml`, 'utf8')) as { readonly schema: Schema };
  const { schemas } = theirs.components;
  const sku = schemas['InstanceSkuSpec'];
  const InstanceSkuSpec = { ...sku, properties: { ...sku?.properties, gpu: schema } };
  return { ...theirs, components: { schemas: { ...schemas, InstanceSkuSpec } } };
}

function matches(glob: string, text: string): boolean {
  const pattern = glob.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${pattern.join('.*')}$`).test(text);
}

describe.skipIf(!existsSync(contracts))(`the description that is served, beside SECA's contract (skipped without ${contracts})`, () => {
  it('differs only where the page says so, and everywhere where it does', async () => {
    const served = (await plane.call('GET', '/openapi.json')).body as OpenApi;
    const differences: Difference[] = [];
    const files = (await readdir(contracts)).filter((name) => !name.startsWith('overlay'));
    const absent: string[] = [];
    for (const file of files) {
      const theirs = parse(await readFile(`${contracts}/${file}`, 'utf8')) as OpenApi;
      const provider = /seca\.\w+$/.exec(theirs.servers?.[0]?.url ?? '')?.[0];
      if (provider !== undefined && !Object.keys(served.paths).some((path) => path.includes(`/${provider}/`))) absent.push(provider);
      else differences.push(...compareApis(file.includes('compute') ? await withGpu(theirs) : theirs, served));
    }
    const rows = (await rowsOfPage()).filter(({ where }) => !absent.some((provider) => where.startsWith(provider.replace('seca.', ''))));

    const isOf = (row: Row) => (each: Difference) => matches(row.where, each.where) && matches(row.what, each.what);
    const untold = distinct(differences).filter((each) => !rows.some((row) => isOf(row)(each)));
    const unfounded = rows.filter((row) => !differences.some(isOf(row)));

    expect(files.length).toBeGreaterThan(10);
    expect(['seca.activitylog', 'seca.authorization']).toEqual(expect.arrayContaining(absent));
    expect(untold).toEqual([]);
    expect(unfounded).toEqual([]);
  });
});
