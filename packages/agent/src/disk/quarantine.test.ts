import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { silentLog } from '../log.js';
import { openQuarantine } from './quarantine.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8q-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('keeps what is damaged with where it was, when and why, and never overwrites an earlier one', async () => {
  const quarantine = openQuarantine(folder, silentLog, () => new Date('2026-01-02T03:04:05.678Z'));
  const file = join(folder, 'ledger.json');
  writeFileSync(file, 'first');
  await quarantine.move(file, 'not JSON');
  expect(existsSync(file)).toBe(false);
  writeFileSync(file, 'second');
  await quarantine.copy(file, 'not JSON either');
  expect(readFileSync(file, 'utf8')).toBe('second');
  const kept = await openQuarantine(folder, silentLog).list();
  expect(kept).toMatchObject([
    { from: file, at: '2026-01-02T03:04:05.678Z', reason: 'not JSON' },
    { from: file, reason: 'not JSON either' },
  ]);
  expect(kept.map(({ directory }) => readFileSync(join(directory, 'ledger.json'), 'utf8'))).toEqual(['first', 'second']);
});

it('lists what has lost its reason, and nothing where nothing was ever moved', async () => {
  const quarantine = openQuarantine(folder, silentLog);
  expect(await quarantine.list()).toEqual([]);
  const file = join(folder, 'instance.json');
  writeFileSync(file, '{');
  writeFileSync(join(await quarantine.move(file, 'x'), 'why.json'), '{');
  expect(await quarantine.list()).toMatchObject([{ at: new Date(0).toISOString(), reason: expect.stringContaining('damaged') }]);
});
