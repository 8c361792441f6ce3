import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openQuarantine, type Quarantine } from '../disk/quarantine.js';
import { silentLog } from '../log.js';
import { TunnelKeys } from './tunnel-keys.js';

let folder: string;
let quarantine: Quarantine;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8keys-'));
  quarantine = openQuarantine(folder, silentLog);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = async (nowMs = 1_000) => await TunnelKeys.open(join(folder, 'overlay'), nowMs, quarantine);

describe('the keys of a host’s tunnels', () => {
  it('are made once, and only their owner reads the private one', async () => {
    const keys = await open();
    expect(keys.publicKey).toMatch(/^[A-Za-z0-9+/]{43}=$/);
    expect(statSync(keys.privateKeyPath).mode & 0o777).toBe(0o600);
    expect((await open(5_000)).publicKey).toBe(keys.publicKey);
    expect((await open(5_000)).ageMs(6_000)).toBe(5_000);
  });

  it('change in two steps, each of which outlives the agent', async () => {
    const keys = await open();
    const before = keys.publicKey;
    await keys.prepare(1);
    const next = keys.nextPublicKey;
    expect(next).not.toBe(before);
    const again = await open();
    expect(again).toMatchObject({ publicKey: before, nextPublicKey: next, rotation: 1 });
    await again.prepare(2);
    expect(again).toMatchObject({ nextPublicKey: next, rotation: 2 });
    await again.promote(9_000);
    expect(await open()).toMatchObject({ publicKey: next, nextPublicKey: undefined, rotation: 2 });
    expect((await open()).ageMs(9_500)).toBe(500);
  });

  it('are made anew where they are damaged, which is put aside', async () => {
    const keys = await open();
    await keys.prepare(1);
    const next = keys.nextPublicKey;
    writeFileSync(keys.privateKeyPath, 'half a k');
    writeFileSync(join(folder, 'overlay', 'keys.json'), '{"version":1,');
    const mended = await open();
    expect(mended.publicKey).not.toBe(keys.publicKey);
    expect(mended).toMatchObject({ nextPublicKey: next, rotation: 0 });
    const kept = await quarantine.list();
    expect(kept.map(({ from }) => from)).toContain(keys.privateKeyPath);
    expect(kept.map(({ reason }) => reason).join()).not.toContain(readFileSync(mended.privateKeyPath, 'utf8').trim());
  });
});
