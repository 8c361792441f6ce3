import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chunkBytes, digestOf } from './chunks.js';
import { pageChunks } from './digest-table.js';
import { SendLedger } from './send-ledger.js';

const sizes = [5 * chunkBytes, 2 * chunkBytes];
const digest = digestOf(Buffer.from('x'));
let directory: string;
const open = (validity = 'v', transferId = 't') => SendLedger.open({ directory, transferId, sizes, validity });

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'v8l-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('the sender’s ledger', () => {
  it('outlives its process without being closed', () => {
    const ledger = open();
    ledger.beginPass(3);
    ledger.sending(0, 4, chunkBytes);
    ledger.held(0, 4, digest);
    ledger.sending(1, 1, chunkBytes);
    ledger.endPass();
    const again = open();
    expect(again).toMatchObject({ pass: 3, passes: 1, bytes: 2 * chunkBytes, resentBytes: 0 });
    expect(again.tables[0]?.equals(4, digest)).toBe(true);
    expect(again.tables[1]?.isKnown(1)).toBe(false);
    // What was in flight when the process died counts as sent again, once.
    again.sending(1, 1, chunkBytes);
    again.held(1, 1, digest);
    again.sending(1, 1, chunkBytes);
    expect(again).toMatchObject({ bytes: 4 * chunkBytes, resentBytes: chunkBytes });
    ledger.close();
    again.close();
  });

  it('outlives its process with the digests of a disk that memory has no room for', () => {
    const sizeBytes = 40 * pageChunks * chunkBytes;
    const openLarge = () => SendLedger.open({ directory, transferId: 'large', sizes: [sizeBytes, chunkBytes], validity: 'v' });
    const ledger = openLarge();
    ledger.tables[0]?.setZeros(0, 40 * pageChunks);
    ledger.save(0);
    for (let page = 0; page < 40; page += 1) ledger.held(0, page * pageChunks + 9, digestOf(Buffer.from(String(page))));
    ledger.held(1, 0, digest);
    const root = ledger.tables[0]?.root();
    const again = openLarge();
    expect(again.tables.map((table) => table.unknownCount)).toEqual([0, 0]);
    expect(again.tables[0]?.root()).toBe(root);
    expect(again.tables[1]?.equals(0, digest)).toBe(true);
    ledger.close();
    again.close();
  });

  it('forgets the digests, not the counters, when the source is not the one it was', () => {
    const ledger = open();
    ledger.sending(0, 0, chunkBytes);
    ledger.held(0, 0, digest);
    ledger.close();
    const other = open('w');
    expect(other.bytes).toBe(chunkBytes);
    expect(other.tables[0]?.isKnown(0)).toBe(false);
    other.close();
    const back = open('v');
    expect(back.tables[0]?.isKnown(0)).toBe(false);
    back.close();
  });

  it('starts empty for another transfer and from damage', () => {
    const ledger = open();
    ledger.sending(0, 0, chunkBytes);
    ledger.held(0, 0, digest);
    ledger.close();
    const other = open('v', 'u');
    expect(other).toMatchObject({ bytes: 0, passes: 0 });
    expect(other.tables[0]?.isKnown(0)).toBe(false);
    other.close();
    writeFileSync(join(directory, 'send.ledger'), 'short');
    const damaged = open('v', 'u');
    expect(damaged.bytes).toBe(0);
    damaged.sending(0, 0, 1);
    damaged.close();
  });

  it('keeps account of more chunks in flight than it has room for', () => {
    const ledger = SendLedger.open({ directory, transferId: 't', sizes: [200 * chunkBytes], validity: '' });
    for (let index = 0; index < 150; index += 1) ledger.sending(0, index, 1);
    for (let index = 0; index < 150; index += 1) ledger.held(0, index, digest);
    expect(ledger).toMatchObject({ bytes: 150, resentBytes: 0 });
    ledger.close();
  });
});
