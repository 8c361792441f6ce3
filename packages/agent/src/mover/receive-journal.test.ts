import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chunkBytes, digestOf } from './chunks.js';
import { DigestTable } from './digest-table.js';
import { ReceiveJournal } from './receive-journal.js';

const sizes = [8 * chunkBytes, 3 * chunkBytes + 512];
const recordBytes = 48;
const digest = (text: string) => digestOf(Buffer.from(text));

let folder: string;
let path: string;
const blank = () => {
  const tables = sizes.map((size) => new DigestTable(size));
  for (const table of tables) for (let index = 0; index < table.count; index += 1) table.set(index, table.zero(index));
  return Promise.resolve(tables);
};
const open = async (lostCache = false, scan = blank) => await ReceiveJournal.open(path, 't1', sizes, lostCache, scan);
const chunk = (disk: number, index: number, text: string, pass = 0) => ({ disk, pass, index, digest: digest(text) });

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8j-'));
  path = join(folder, 'journal');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

describe('the receiver’s journal', () => {
  it('begins with what is on the disks and remembers every chunk', async () => {
    const scan = async () => {
      const tables = await blank();
      tables[0]?.set(7, digest('base'));
      return tables;
    };
    const journal = await open(false, scan);
    await Promise.all([journal.append(chunk(0, 1, 'a')), journal.append(chunk(1, 3, 'b')), journal.append(chunk(0, 1, 'c', 1))]);
    expect(journal).toMatchObject({ pass: 1, bytes: 2 * chunkBytes + 512, complete: false, isCheckpointed: false });
    await journal.close();
    const again = await open(false, () => Promise.reject(new Error('the disks are not looked at twice')));
    expect(again).toMatchObject({ pass: 1, bytes: 2 * chunkBytes + 512 });
    expect(again.tables[0]?.equals(1, digest('c'))).toBe(true);
    expect(again.tables[0]?.equals(7, digest('base'))).toBe(true);
    expect(again.tables[1]?.equals(3, digest('b'))).toBe(true);
    expect(again.tables[0]?.isZero(0)).toBe(true);
    await again.close();
  });

  it('cuts a torn end at whatever byte, and nothing before it', async () => {
    const journal = await open();
    await journal.append(chunk(0, 1, 'a'));
    await journal.close();
    const whole = statSync(path).size;
    const more = await open();
    await more.append(chunk(0, 2, 'b'));
    await more.close();
    const bytes = readFileSync(path);
    for (let end = whole; end < bytes.length; end += 1) {
      writeFileSync(path, bytes.subarray(0, end));
      const cut = await open();
      expect(cut.tables[0]?.equals(1, digest('a'))).toBe(true);
      expect(cut.tables[0]?.isZero(2)).toBe(true);
      await cut.append(chunk(0, 3, 'c'));
      await cut.close();
      expect(statSync(path).size).toBe(whole + recordBytes);
    }
    appendFileSync(path, Buffer.alloc(100, 0xff));
    const last = await open();
    expect(last.tables[0]?.equals(3, digest('c'))).toBe(true);
    await last.close();
  });

  it('stops at a record with a flipped bit', async () => {
    const journal = await open();
    for (let index = 0; index < 5; index += 1) await journal.append(chunk(0, index, `${index}`));
    await journal.close();
    const bytes = readFileSync(path);
    const third = bytes.length - 3 * recordBytes;
    bytes.writeUInt8(bytes.readUInt8(third + 20) ^ 1, third + 20);
    writeFileSync(path, bytes);
    const again = await open();
    expect([0, 1, 2, 3, 4].map((index) => again.tables[0]?.isZero(index))).toEqual([false, false, true, true, true]);
    await again.close();
  });

  it('knows after a power loss only what a flush covered, and says so at every later opening', async () => {
    const journal = await open();
    await journal.append(chunk(0, 1, 'flushed'));
    await journal.append(chunk(0, 2, 'flushed'));
    const { mark } = journal;
    await journal.append(chunk(0, 2, 'while the flush ran'));
    await journal.append(chunk(0, 3, 'while the flush ran'));
    await journal.checkpoint(mark);
    expect(journal.isCheckpointed).toBe(false);
    await journal.append(chunk(0, 4, 'after'));
    await journal.close();
    for (const lostCache of [true, false]) {
      const again = await open(lostCache);
      expect([1, 2, 3, 4, 5].map((index) => again.tables[0]?.isKnown(index))).toEqual([true, false, false, false, true]);
      expect(again.tables[0]?.equals(1, digest('flushed'))).toBe(true);
      expect(again.tables[0]?.root()).toBeUndefined();
      await again.close();
    }
    const last = await open();
    for (const index of [2, 3, 4]) await last.append(chunk(0, index, 'again'));
    expect(last.tables[0]?.root()).toMatch(/^[0-9a-f]{64}$/);
    await last.close();
  });

  it('counts the chunks that were being journaled when a checkpoint was made', async () => {
    const journal = await open();
    await Promise.all([
      journal.append(chunk(0, 1, 'a')),
      journal.append(chunk(0, 2, 'b')),
      journal.append({ ...chunk(0, 4, ''), digest: journal.tables[0]?.zero(4) ?? digest('') }),
      journal.checkpoint(journal.mark),
      journal.append(chunk(1, 3, 'c')),
    ]);
    expect(journal.bytes).toBe(2 * chunkBytes + 512);
    await journal.close();
    const again = await open();
    expect(again.bytes).toBe(journal.bytes);
    await again.close();
  });

  it('belongs to one transfer with disks of certain sizes', async () => {
    await (await open()).close();
    await expect(ReceiveJournal.open(path, 't2', sizes, false, blank)).rejects.toMatchObject({ kind: 'conflict' });
    await expect(ReceiveJournal.open(path, 't1', [chunkBytes], false, blank)).rejects.toMatchObject({ kind: 'conflict' });
  });

  it('stays complete once it is', async () => {
    const journal = await open();
    await journal.append(chunk(0, 1, 'a'));
    await journal.checkpoint(journal.mark);
    await journal.finish();
    await journal.close();
    const again = await open(true);
    expect(again).toMatchObject({ complete: true });
    expect(again.tables[0]?.equals(1, digest('a'))).toBe(true);
    await again.close();
  });

  it('is begun anew from the disks when its first record is damaged', async () => {
    await (await open()).close();
    truncateSync(path, 10);
    const scan = async () => {
      const tables = await blank();
      tables[0]?.set(2, digest('on the disk'));
      return tables;
    };
    const journal = await open(false, scan);
    expect(journal.tables[0]?.equals(2, digest('on the disk'))).toBe(true);
    await journal.close();
  });
});
