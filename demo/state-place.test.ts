import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { processesOn } from './own-processes.js';
import { prepareState, statePlace } from './state-place.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'virt8ra-demo-test-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const user = process.getuid?.() ?? 1000;

describe('state of the demo', () => {
  it('lies where other users can pass when root gives the demo', () => {
    // A temporary folder is closed to others.
    expect(statePlace(folder, 0)).toBe('/var/lib/virt8ra-demo');
    expect(statePlace(folder, 1000)).toBe(join(folder, '.state', 'demo'));
  });

  it('is emptied of what an earlier demo left, programs too', async () => {
    const state = join(folder, 'demo');
    expect(await prepareState(state, user)).toEqual({ leftovers: 0 });
    writeFileSync(join(state, 'ledger'), 'old');
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', join(state, 'guest')], { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    await new Promise((resolve) => child.once('spawn', resolve));
    expect(await prepareState(state, user)).toEqual({ leftovers: 1 });
    await ended;
    expect(processesOn(state)).toEqual([]);
    expect(existsSync(join(state, 'ledger'))).toBe(false);
  });

  it('leaves a folder alone that is not its own', async () => {
    writeFileSync(join(folder, 'letter'), 'precious');
    await expect(prepareState(folder, user)).rejects.toThrow('was not made by the demo');
    expect(existsSync(join(folder, 'letter'))).toBe(true);
  });
});
