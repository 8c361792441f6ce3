import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { root } from './ensure.mjs';

const left = new Set(['node_modules', '.git', '.cache', '.state', 'dist']);
const copy = mkdtempSync(join(tmpdir(), 'check-'));
const planted: string[] = [];

/** Puts files into the copy until the end of the test. */
function plant(files: Record<string, string>): void {
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(copy, path)), { recursive: true });
    writeFileSync(join(copy, path), content);
    planted.push(join(copy, path));
  }
}

/** Runs one stage in the copy, limited to the paths given. */
function check(stage: string, ...paths: string[]): Promise<{ failed: boolean; output: string }> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ['tools/check.mjs', '--only', stage, ...paths],
      { cwd: copy, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => resolve({ failed: error !== null, output: stdout + stderr }),
    );
  });
}

beforeAll(() => {
  cpSync(root, copy, {
    recursive: true,
    filter: (path) =>
      !relative(root, path)
        .split('/')
        .some((part) => left.has(part)),
  });
  // Everything installed is shared, save our own packages: their links must lead into the copy.
  mkdirSync(join(copy, 'node_modules/@virt8ra'), { recursive: true });
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== '@virt8ra') symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  }
  for (const name of readdirSync(join(root, 'packages')))
    symlinkSync(join('../../packages', name), join(copy, 'node_modules/@virt8ra', name));
});
afterEach(() => {
  for (const path of planted.splice(0)) rmSync(path);
});
afterAll(() => rmSync(copy, { recursive: true }));

/** Some stages read the whole tree. */
const wholeTreeMs = 120_000;

describe('the import table', { timeout: wholeTreeMs }, () => {
  const cases: { title: string; rule: string; files: Record<string, string> }[] = [
    {
      title: 'the agent importing the server',
      rule: 'import-table-agent',
      files: {
        'packages/agent/src/plant.ts': "export * from '../../server/src/index.js';\n",
        'packages/server/src/index.ts': 'export {};\n',
      },
    },
    {
      title: "a deep import past a package's entry",
      rule: 'import-table-engine',
      files: { 'packages/engine/src/plant.ts': "export * from '../../contract/src/problem.js';\n" },
    },
    {
      title: 'a deep import into another kind',
      rule: 'kind-by-its-index',
      files: {
        'packages/server/src/kinds/plant-a/index.ts': "export * from '../plant-b/inner.js';\n",
        'packages/server/src/kinds/plant-b/inner.ts': 'export const inner = 1;\n',
      },
    },
    {
      title: 'a kind that knows http',
      rule: 'kind-knows-no-http',
      files: {
        'packages/server/src/kinds/plant-a/index.ts': "export * from '../../http/plant.js';\n",
        'packages/server/src/http/plant.ts': 'export const plant = 1;\n',
      },
    },
    {
      title: 'a driver importing another',
      rule: 'no-driver-to-driver',
      files: {
        'packages/drivers/src/plant-a/index.ts': "export * from '../plant-b/index.js';\n",
        'packages/drivers/src/plant-b/index.ts': 'export const plant = 1;\n',
      },
    },
    {
      title: 'drivers imported outside app.ts',
      rule: 'import-table-server',
      files: {
        'packages/server/src/accounts/plant.ts': "export * from '@virt8ra/drivers';\n",
        'packages/drivers/src/index.ts': 'export const plant = 1;\n',
      },
    },
    {
      title: 'an outbound request beside the ways out',
      rule: 'one-way-out',
      files: { 'packages/server/src/accounts/plant.ts': "export { request } from 'node:https';\n" },
    },
    {
      title: 'a cycle',
      rule: 'no-cycle',
      files: {
        'packages/cli/src/plant-a.ts': "export * from './plant-b.js';\n",
        'packages/cli/src/plant-b.ts': "export * from './plant-a.js';\n",
      },
    },
    { title: 'node: in the contract', rule: 'pure-contract', files: { 'packages/contract/src/plant.ts': "export * from 'node:path';\n" } },
    {
      title: 'node: in the placement',
      rule: 'pure-placement',
      files: { 'packages/server/src/placement/plant.ts': "export * from 'node:path';\n" },
    },
    {
      title: 'a test imported by the product',
      rule: 'no-tests-in-the-product',
      files: {
        'packages/cli/src/plant.ts': "export * from './plant.test.js';\n",
        'packages/cli/src/plant.test.ts': 'export const plant = 1;\n',
      },
    },
    { title: 'an undeclared package', rule: 'declared', files: { 'packages/cli/src/plant.ts': "export { Agent } from 'fastify';\n" } },
    {
      title: 'a development package in the product',
      rule: 'no-development-packages-in-the-product',
      files: { 'packages/cli/src/plant.ts': "export { it } from 'vitest';\n" },
    },
  ];

  it.each(cases)('refuses $title', async ({ rule, files }) => {
    // A plant must not take the place of a file that is there.
    const fresh = Object.fromEntries(Object.entries(files).filter(([path]) => path.includes('plant') || !existing(path)));
    plant(fresh);
    const { failed, output } = await check('imports', ...Object.keys(files));
    expect(output).toContain(`error ${rule}: `);
    expect(failed).toBe(true);
  });

  it('holds for the tree as it is', async () => {
    expect(await check('imports')).toMatchObject({ failed: false });
  });
});

function existing(path: string): boolean {
  return readdirSync(dirname(join(copy, path))).includes(path.slice(path.lastIndexOf('/') + 1));
}

describe('the format stage', { timeout: wholeTreeMs }, () => {
  it.each([
    { title: 'an undeclared dependency', rule: 'noUndeclaredDependencies', content: "export { z } from 'zod';\n" },
    { title: 'an any', rule: 'noExplicitAny', content: 'export const plant = (value: any): string => String(value);\n' },
    { title: 'an enum', rule: 'noEnum', content: 'export enum Plant {\n  One = 1,\n}\n' },
    { title: 'a default export', rule: 'noDefaultExport', content: 'export default 1;\n' },
    { title: 'a line out of shape', rule: 'format', content: 'export  const plant=1\n' },
  ])('refuses $title', async ({ rule, content }) => {
    const path = 'packages/contract/src/plant.ts';
    plant({ [path]: content });
    const { failed, output } = await check('format', path);
    expect(output).toContain(rule);
    expect(failed).toBe(true);
  });
});

describe('the layout stage', { timeout: wholeTreeMs }, () => {
  it.each([
    { title: 'a file that is too long', path: 'packages/contract/src/plant.ts', content: '\n'.repeat(401), finding: '401 lines' },
    { title: 'a file in no project', path: 'packages/contract/plant.ts', content: '', finding: 'belongs to no TypeScript project' },
    { title: "a vendor's file name", path: 'packages/server/src/openstack-plant.ts', content: '', finding: "a vendor's word" },
    {
      title: 'a generated file that does not say so',
      path: 'packages/client/src/generated/plant.ts',
      content: '\n'.repeat(401),
      finding: 'its first line does not say',
    },
  ])('refuses $title', async ({ path, content, finding }) => {
    plant({ [path]: content });
    const { failed, output } = await check('layout');
    expect(output).toContain(`${path}: ${finding}`);
    expect(failed).toBe(true);
  });
});

describe('the types stage', { timeout: wholeTreeMs }, () => {
  it('passes the contract, and refuses node: in it and an enum', async () => {
    expect(await check('types', 'packages/contract')).toMatchObject({ failed: false });
    plant({ 'packages/contract/src/plant.ts': "import { sep } from 'node:path';\nexport enum Plant {\n  One = sep.length,\n}\n" });
    const { failed, output } = await check('types', 'packages/contract');
    expect(output).toContain("'node:path'");
    expect(output).toContain('erasableSyntaxOnly');
    expect(failed).toBe(true);
  });
});

describe('the promises stage', { timeout: wholeTreeMs }, () => {
  it.each([
    { title: 'a floating promise', rule: 'no-floating-promises', content: 'export function plant(p: Promise<void>): void {\n  p;\n}\n' },
    { title: 'a thrown string', rule: 'only-throw-error', content: "export function plant(): never {\n  throw 'no';\n}\n" },
    {
      title: 'a switch that forgets a case',
      rule: 'switch-exhaustiveness-check',
      content: "export function plant(p: 'a' | 'b'): void {\n  switch (p) {\n    case 'a':\n      return;\n  }\n}\n",
    },
    { title: "a vendor's word", rule: 'no-restricted-syntax', content: 'export const openStackPlant = 1;\n' },
  ])('refuses $title', async ({ rule, content }) => {
    const path = 'packages/contract/src/plant.ts';
    plant({ [path]: content });
    const { failed, output } = await check('promises', path);
    expect(output).toContain(rule);
    expect(failed).toBe(true);
  });

  it('does not take a longer word for a vendor', async () => {
    const path = 'packages/contract/src/plant.ts';
    plant({ [path]: 'export const parSystem = 1;\n' });
    expect(await check('promises', path)).toMatchObject({ failed: false });
  });
});
