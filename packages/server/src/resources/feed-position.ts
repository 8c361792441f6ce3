import { Problem } from '@virt8ra/contract';

/** Place on the change feed: the transaction and, inside it, the order of writing. As text: `xid.seq`, the cursor clients keep. */
export interface FeedPosition {
  readonly xid: bigint;
  readonly seq: bigint;
}

const largest = 2n ** 63n - 1n;

export function comparePositions(left: FeedPosition, right: FeedPosition): number {
  if (left.xid !== right.xid) return left.xid < right.xid ? -1 : 1;
  if (left.seq !== right.seq) return left.seq < right.seq ? -1 : 1;
  return 0;
}

export function textFromPosition(position: FeedPosition): string {
  return `${position.xid}.${position.seq}`;
}

/** Raises `invalid-request` that names the parameter. */
export function positionFromText(text: string, parameter: string): FeedPosition {
  const [, xid, seq] = /^(\d{1,19})\.(\d{1,19})$/.exec(text) ?? [];
  if (xid !== undefined && seq !== undefined && BigInt(xid) <= largest && BigInt(seq) <= largest) {
    return { xid: BigInt(xid), seq: BigInt(seq) };
  }
  throw new Problem('invalid-request', `${JSON.stringify(text.slice(0, 64))} is not a cursor of the change feed; use the id of an event`, {
    sources: [{ parameter }],
  });
}
