import { Problem } from '@virt8ra/contract/plain';
import { chunkBytes, chunkLength } from './chunks.js';
import type { DigestTable } from './digest-table.js';
import type { NbdClient } from './nbd/client.js';
import { allocationContext, bitmapContext, dirtyFlag, eachExtent, zeroFlag } from './nbd/extents.js';
import type { SendLedger } from './send-ledger.js';

/** A disk at a frozen point. */
export interface SourceDisk {
  readonly client: NbdClient;
  /** Dirty bitmap that holds what changed since the point before; undefined: nobody kept one. */
  readonly bitmap?: string;
}

/** What is to be done with a chunk in a pass. */
export const need = { nothing: 0, zero: 1, content: 2 } as const;

/** One entry of `need` for each chunk. */
export type SendPlan = Uint8Array;

/**
 * What a pass must look at: chunks that changed since the point before, and those whose content at the receiver is not known. Raises Problem
 * internal when the server does not offer the bitmap.
 */
export async function planPass({ client, bitmap }: SourceDisk, table: DigestTable): Promise<SendPlan> {
  const plan = new Uint8Array(table.count);
  if (table.unknownCount > 0) for (let index = 0; index < table.count; index += 1) if (!table.isKnown(index)) plan[index] = need.content;
  const changed = bitmap === undefined ? undefined : bitmapContext(bitmap);
  if (changed !== undefined && !client.contexts.includes(changed))
    throw new Problem('internal', `QEMU does not offer the bitmap ${bitmap}`);
  const hasContent = new Uint8Array(table.count);
  await eachExtent(client, (context, start, end, flags) => {
    const first = Math.floor(start / chunkBytes);
    const after = Math.ceil(end / chunkBytes);
    if (context === changed && (flags & dirtyFlag) !== 0) plan.fill(need.content, first, after);
    if (context === allocationContext && (flags & zeroFlag) === 0) hasContent.fill(1, first, after);
  });
  if (client.contexts.includes(allocationContext))
    for (let index = 0; index < table.count; index += 1)
      if (plan[index] === need.content && hasContent[index] === 0) plan[index] = need.zero;
  return plan;
}

/** Adds to a plan what the receiver lost of what it had acknowledged. `sent`: chunks that were dealt with in this pass already. */
export function addLost(plan: SendPlan, sent: Uint8Array, table: DigestTable, held: DigestTable): void {
  for (let index = 0; index < table.count; index += 1) {
    if (!table.isKnown(index) || held.equals(index, table.get(index))) continue;
    plan[index] = need.content;
    sent[index] = 0;
  }
}

/**
 * Strikes from a plan what need not be sent because it was in this pass, or because it is zeros at both ends. Answers the content bytes that are
 * left to be read.
 */
export function trimPlan(plan: SendPlan, sent: Uint8Array, disk: number, ledger: SendLedger, held: DigestTable): number {
  const table = ledger.tables[disk];
  if (table === undefined) return 0;
  let left = 0;
  let changed = false;
  /** First of the zeros that the table has yet to be told of; negative: none. */
  let zeros = -1;
  for (let index = 0; index < table.count; index += 1) {
    if (sent[index] === 1) plan[index] = need.nothing;
    if (plan[index] === need.zero && held.isZero(index)) {
      plan[index] = need.nothing;
      sent[index] = 1;
      // Told all at once: a disk may have millions of these.
      zeros = zeros < 0 ? index : zeros;
      changed = true;
    } else if (zeros >= 0) {
      table.setZeros(zeros, index);
      zeros = -1;
    }
    if (plan[index] === need.content) left += chunkLength(table.sizeBytes, index);
  }
  if (zeros >= 0) table.setZeros(zeros, table.count);
  if (changed) ledger.save(disk);
  return left;
}
