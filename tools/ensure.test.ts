import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ensure, everySystemPart, missingPackages, npmIsStale } from './ensure.mjs';

describe('missingPackages', () => {
  it('names every package once on a bare machine', () => {
    const packages = missingPackages(everySystemPart, () => false);
    expect(packages).toContain('qemu-system-x86');
    expect(packages.filter((name) => name === 'qemu-utils')).toHaveLength(1);
  });

  it('names only what brings the missing command', () => {
    expect(missingPackages(everySystemPart, (name) => name !== 'nbdcopy')).toEqual(['libnbd-bin']);
  });

  it('looks only at the parts asked for', () => {
    expect(missingPackages(['seed'], () => false)).toEqual(['genisoimage']);
  });
});

describe('npmIsStale', () => {
  let folder = '';
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ensure-'));
    writeFileSync(join(folder, 'package-lock.json'), '{}');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const installedAt = (seconds: number): void => {
    mkdirSync(join(folder, 'node_modules'));
    const file = join(folder, 'node_modules/.package-lock.json');
    writeFileSync(file, '{}');
    utimesSync(file, seconds, seconds);
  };

  it('is true before the first installation', () => {
    expect(npmIsStale(folder)).toBe(true);
  });

  it('is true when the lock is newer', () => {
    installedAt(1000);
    expect(npmIsStale(folder)).toBe(true);
  });

  it('is false when nothing changed since', () => {
    installedAt(Date.now() / 1000 + 60);
    expect(npmIsStale(folder)).toBe(false);
  });
});

describe('ensure', () => {
  it('only says what it would do in a dry run', () => {
    const said: string[] = [];
    expect(ensure({ dryRun: true, system: everySystemPart, say: (text: string) => said.push(text) })).toBe(true);
    expect(said.at(-1)).toBe('would run: tsc -b');
  });
});
