import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { chunkBytes, digestBytes, digestOf } from './chunks.js';
import { DigestTable, pageChunks, pageKind } from './digest-table.js';
import { scratchPages } from './scratch-pages.js';

/** More pages than a table keeps in memory; the last one is short, and so is the last chunk. */
const count = 40 * pageChunks + 100;
const sizeBytes = (count - 1) * chunkBytes + 512;
const digest = (text: string | number) => digestOf(Buffer.from(String(text)));

let folder: string;
let table: DigestTable;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'v8d-'));
  table = new DigestTable(sizeBytes, scratchPages(folder));
});
afterEach(() => {
  table.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The same in plain memory. */
class Model {
  readonly bytes = Buffer.alloc(count * digestBytes);

  set(index: number, value: Buffer): void {
    value.copy(this.bytes, index * digestBytes);
  }

  expectEqual(): void {
    let unknown = 0;
    for (let index = 0; index < count; index += 1)
      if (this.bytes.subarray(index * digestBytes, (index + 1) * digestBytes).equals(Buffer.alloc(digestBytes))) unknown += 1;
    expect(table.unknownCount).toBe(unknown);
    const sum = createHash('sha256');
    for (const [first, digests] of table.pages()) {
      expect(first % pageChunks).toBe(0);
      sum.update(digests);
    }
    const expected = createHash('sha256').update(this.bytes).digest('hex');
    expect(sum.digest('hex')).toBe(expected);
    expect(table.root()).toBe(unknown === 0 ? expected : undefined);
  }
}

describe('a table of digests that has a place for what memory has no room for', () => {
  it('says the same as plain memory after any changes', () => {
    const model = new Model();
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
      return seed % below;
    };
    for (let step = 0; step < 3_000; step += 1) {
      const index = random(count);
      const what = random(10);
      if (what < 6) {
        const value = what === 0 ? table.zero(index) : digest(step);
        table.set(index, value);
        model.set(index, value);
        expect(table.isKnown(index)).toBe(true);
        expect(table.isZero(index)).toBe(what === 0);
      } else if (what === 6) {
        table.clear(index);
        model.set(index, Buffer.alloc(digestBytes));
        expect(table.isKnown(index)).toBe(false);
      } else if (step % 10 === 0) {
        const after = Math.min(count, index + random(3 * pageChunks));
        table.setZeros(index, after);
        for (let at = index; at < after; at += 1) model.set(at, table.zero(at));
      }
    }
    model.expectEqual();
    table.setZeros(0, 20 * pageChunks);
    for (let at = 0; at < 20 * pageChunks; at += 1) model.set(at, table.zero(at));
    for (let index = 0; index < count; index += 1) {
      if (table.isKnown(index)) continue;
      table.set(index, digest(index));
      model.set(index, digest(index));
    }
    model.expectEqual();
    expect(table.root()).toBeDefined();
    table.forget();
    expect(table.unknownCount).toBe(count);
  });

  it('takes pages over whole and in pieces, and gives no room to what is all alike', () => {
    table.setZeros(0, count);
    expect(table.kinds.every((kind) => kind === pageKind.zeros)).toBe(true);
    const other = new DigestTable(sizeBytes);
    for (const [first, digests] of table.pages()) other.load(digests, first);
    expect(other.kinds.every((kind) => kind === pageKind.zeros)).toBe(true);
    expect(other.root()).toBe(table.root());
    other.set(5, digest('x'));
    const all = Buffer.concat(Array.from(other.pages(), ([, digests]) => Buffer.from(digests)));
    table.forget();
    table.load(all.subarray(0, 7 * digestBytes));
    table.load(all.subarray(7 * digestBytes), 7);
    expect(table.root()).toBe(other.root());
    expect([...table.kinds].filter((kind) => kind === pageKind.mixed)).toHaveLength(1);
  });

  it('leaves no file behind', () => {
    for (let page = 0; page < 40; page += 1) table.set(page * pageChunks, digest(page));
    for (let page = 0; page < 40; page += 1) expect(table.equals(page * pageChunks, digest(page))).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
  });
});
