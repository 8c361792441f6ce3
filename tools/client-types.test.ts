import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describedApi } from '@virt8ra/server/testing';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { clientTypesOf, clientTypesPath } from './client-types.mjs';
import { root } from './ensure.mjs';

describe('the types of the client', () => {
  it('are what the server says of its API; npm run generate makes them so', async () => {
    const made = await clientTypesOf(JSON.parse(JSON.stringify(describedApi())));
    const kept = readFileSync(clientTypesPath, 'utf8');
    const [one, other] = [made.split('\n'), kept.split('\n')];
    const at = one.findIndex((line, index) => line !== other[index]);
    expect(other[at], `line ${at + 1} of ${clientTypesPath}`).toBe(one[at]);
    expect(made === kept).toBe(true);
  }, 60_000);
});

/** Of Markdown, as files of the names that its order gives them. */
function examplesOf(readme: string): readonly (readonly [string, string])[] {
  const text = readFileSync(readme, 'utf8');
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ''], index) => [`example-${index + 1}.ts`, code] as const);
}

describe('the examples in the README of the client', () => {
  it('compile, and what does not fit the description does not', () => {
    const scratch = join(root, 'packages/client/.cache');
    mkdirSync(scratch, { recursive: true });
    const folder = mkdtempSync(join(scratch, 'examples-'));
    try {
      const examples = examplesOf(join(root, 'packages/client/README.md'));
      const wrong = `import { createClient } from '@virt8ra/client';
const { request } = createClient({ server: 'https://cloud.example' });
const base = '/providers/seca.storage/v1/tenants/{tenant}';
export const noSuchPath = request('GET', '/providers/seca.storage/v1/nothing');
export const noSuchVerb = request('PUT', \`\${base}/skus/{name}\` as const, { path: { tenant: 't', name: 'n' } });
export const partMissing = request('GET', \`\${base}/skus/{name}\` as const, { path: { tenant: 't' } });
export const noPathAtAll = request('GET', \`\${base}/skus\` as const);
export const misspelt = request('GET', \`\${base}/skus\` as const, { path: { tenant: 't' }, query: { limits: 3 } });
export const wrongType = request('PUT', \`\${base}/workspaces/{workspace}/block-storages/{name}\` as const, {
  path: { tenant: 't', workspace: 'w', name: 'n' },
  body: { spec: { sizeGB: '20', skuRef: 'skus/x' } },
});
`;
      for (const [name, code] of [...examples, ['wrong.ts', wrong] as const]) writeFileSync(join(folder, name), code);
      const names = [...examples.map(([name]) => name), 'wrong.ts'].map((name) => join(folder, name));
      const program = ts.createProgram(names, {
        target: ts.ScriptTarget.ES2022,
        module: ts.ModuleKind.NodeNext,
        moduleResolution: ts.ModuleResolutionKind.NodeNext,
        customConditions: ['source'],
        lib: ['lib.es2023.d.ts'],
        types: ['node'],
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: true,
        noEmit: true,
        rewriteRelativeImportExtensions: true,
      });
      const faults = names.flatMap((name) => {
        const file = program.getSourceFile(name);
        return [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)];
      });
      const told = faults.map(({ file, start = 0, messageText }) => ({
        name: file?.fileName.split('/').at(-1),
        line: (file?.getLineAndCharacterOfPosition(start).line ?? 0) + 1,
        text: ts.flattenDiagnosticMessageText(messageText, ' '),
      }));
      expect(examples.length).toBeGreaterThan(4);
      expect(told.filter(({ name }) => name !== 'wrong.ts')).toEqual([]);
      expect([...new Set(told.map(({ line }) => line))].toSorted((a, b) => a - b)).toEqual([4, 5, 6, 7, 8, 11]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }, 120_000);
});
