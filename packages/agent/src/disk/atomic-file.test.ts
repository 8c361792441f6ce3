import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readJson, sweepUnfinished, writeJsonAtomic } from './atomic-file.js';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'atomic-file-'));
});
afterEach(async () => await rm(folder, { recursive: true }));

it('takes away what a killed writer left, and nothing else', async () => {
  await writeJsonAtomic(join(folder, 'ledger.json'), { kept: true });
  await writeFile(join(folder, 'ledger.json.20a6f57c9c4a.new'), '{"ke');
  await writeFile(join(folder, 'notes.new'), 'an operator’s');
  await sweepUnfinished(folder);
  await sweepUnfinished(join(folder, 'absent'));
  expect((await readdir(folder)).toSorted()).toEqual(['ledger.json', 'notes.new']);
  expect(await readJson(join(folder, 'ledger.json'))).toEqual({ kept: true });
});
