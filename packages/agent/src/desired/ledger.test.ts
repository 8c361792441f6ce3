import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DesiredState } from '@virt8ra/contract';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openQuarantine } from '../disk/quarantine.js';
import { silentLog } from '../log.js';
import { openLedger, readLedger } from './ledger.js';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8d-'));
  file = join(folder, 'ledger.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const state = (generation: number, ...networks: string[]): DesiredState => ({
  generation,
  networks: networks.map((key, index) => ({ key, vni: index + 1, mtu: 1400, gateways: [] })),
  volumes: [],
  instances: [],
  transfers: [],
});
const open = async () => await openLedger(file, openQuarantine(folder, silentLog));
const n1 = { type: 'network', key: 'n1' } as const;

it('keeps the newest state of an epoch, also after being opened anew', async () => {
  const ledger = await open();
  expect(await ledger.accept('e1', state(5, 'n1'), [])).toBe(true);
  expect(await ledger.accept('e1', state(4), [])).toBe(false);
  const again = await open();
  expect(again.epoch).toBe('e1');
  expect(again.state).toEqual(state(5, 'n1'));
  expect(readdirSync(folder)).toEqual(['ledger.json']);
});

it('starts a new epoch at any generation and keeps what that epoch has not listed yet', async () => {
  const ledger = await open();
  await ledger.accept('e1', state(5, 'n1', 'n2'), [n1]);
  expect(ledger.mayRemove(n1)).toBe(true);
  expect(await ledger.accept('e2', state(1), [n1])).toBe(true);
  expect(ledger.mayRemove(n1)).toBe(false);
  const again = await open();
  expect(again.mayRemove(n1)).toBe(false);
  await again.accept('e2', state(2, 'n1'), []);
  await again.accept('e2', state(3), []);
  expect(again.mayRemove(n1)).toBe(true);
  expect(again.mayRemove({ type: 'network', key: 'n2' })).toBe(false);
});

it('removes what the very first state leaves out', async () => {
  const ledger = await open();
  await ledger.accept('e1', state(1), []);
  expect(ledger.mayRemove(n1)).toBe(true);
});

it('puts a damaged file aside and leaves everything that is there until a control plane has listed it', async () => {
  for (const damage of ['{"version":1,', 'null', '{"version":1,"epoch":"e1","state":{},"kept":[]}']) {
    writeFileSync(file, damage);
    const ledger = await open();
    expect(ledger.told).toBe(false);
    ledger.keep([n1]);
    expect(ledger.mayRemove(n1)).toBe(false);
    await ledger.accept('e1', state(1), []);
    expect((await open()).mayRemove(n1)).toBe(false);
    await ledger.accept('e1', state(2, 'n1'), []);
    await ledger.accept('e1', state(3), []);
    expect(ledger.mayRemove(n1)).toBe(true);
  }
  expect(await openQuarantine(folder, silentLog).list()).toHaveLength(3);
});

it('refuses a file of another version by name', async () => {
  writeFileSync(file, JSON.stringify({ version: 2, epoch: 'e1', state: state(1), kept: [] }));
  await expect(open()).rejects.toMatchObject({ kind: 'internal', message: expect.stringContaining('version') });
});

it('can be read without touching anything', async () => {
  expect(await readLedger(file)).toMatchObject({ epoch: null, state: { generation: 0 } });
  await (await open()).accept('e1', state(5, 'n1'), []);
  expect(await readLedger(file)).toMatchObject({ epoch: 'e1', state: state(5, 'n1') });
  for (const damage of ['{"version":1,', 'null', '{"version":2}', '{"version":1,"epoch":"e1","state":{},"kept":[]}']) {
    writeFileSync(file, damage);
    await expect(readLedger(file)).rejects.toMatchObject({ kind: 'internal', message: expect.stringContaining(file) });
    expect(readFileSync(file, 'utf8')).toBe(damage);
    expect(readdirSync(folder)).toEqual(['ledger.json']);
  }
});
