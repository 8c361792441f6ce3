import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openLogFile } from './log-file.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8f-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

it('keeps the newest lines in files of bounded size and number, also over restarts', () => {
  const path = join(folder, 'logs', 'agent.log');
  for (let start = 0; start < 4; start += 1) {
    const write = openLogFile(path, { bytes: 100, kept: 2 });
    for (let line = 0; line < 25; line += 1) write(`line ${String(start * 25 + line).padStart(4, '0')}\n`);
  }
  const names = readdirSync(join(folder, 'logs')).sort();
  expect(names).toEqual(['agent.log', 'agent.log.1', 'agent.log.2']);
  for (const name of names) expect(statSync(join(folder, 'logs', name)).size).toBeLessThanOrEqual(100);
  const all = [...names].reverse().flatMap((name) =>
    readFileSync(join(folder, 'logs', name), 'utf8')
      .split('\n')
      .slice(0, -1),
  );
  expect(all).toEqual(Array.from({ length: all.length }, (_, index) => `line ${String(100 - all.length + index).padStart(4, '0')}`));
});
