/** A row of the audit: who asked for what, from where, and what was decided. */
export interface AuditRecord {
  readonly id: string;
  readonly at: string;
  /** Who; `virt8ra-server` for what the control plane did of its own. */
  readonly subject: string;
  /** Address of the peer; empty for the control plane itself. */
  readonly remote: string;
  /** `put`, `delete`, `post.ACTION`, `open.PLACE`, `close.PLACE`; of the control plane itself also `place`, `remove`, `cut`. */
  readonly verb: string;
  /** URN. */
  readonly resource: string;
  readonly decision: 'allowed' | 'refused';
  /** HTTP status of the answer. */
  readonly code: number;
  /** Version and digest of what the owner had said before, and says now. */
  readonly before?: string;
  readonly after?: string;
  readonly reason?: string;
  /** Place in the chain and hash of the seal; absent until it is sealed, which takes seconds. */
  readonly position?: number;
  readonly hash?: string;
}

/**
 * What does not hold. `changed`: a row is not what was sealed; `removed`: one is gone; `inserted`: one came in behind the chain's back;
 * `moved`: one stands at another's place; `rewritten`: seals are not those that were signed; `unsigned`: nothing signed covers them.
 */
export type AuditFaultKind = 'changed' | 'removed' | 'inserted' | 'moved' | 'rewritten' | 'unsigned';

export interface AuditFault {
  readonly kind: AuditFaultKind;
  /** Of the seal at fault, or of the one before. */
  readonly position: number;
  readonly id?: string;
  readonly message: string;
  /** Times of the sound rows around it. */
  readonly after?: string;
  readonly before?: string;
}

/** What a look at a part of the chain found. */
export interface AuditVerification {
  /** Seals and rows that were compared. */
  readonly checked: number;
  /** The first few. */
  readonly faults: readonly AuditFault[];
  readonly faultCount: number;
  /** Go on behind this position; absent at the end. */
  readonly next?: number;
  /** The last seal that was looked at: to be named at a later verification, which then sees when the end was cut off. */
  readonly head?: { readonly position: number; readonly hash: string; readonly at?: string };
  /** At the end: rows that wait to be sealed, and since when. */
  readonly unsealed?: { readonly rows: number; readonly since?: string };
  /** At the beginning: what was removed by age, under signature. */
  readonly cut?: { readonly position: number; readonly at: string };
}

/** What people read of a verification: each fault with the times around it, and what to keep for the next one. */
export function auditVerificationText({ checked, faults, faultCount, head, unsealed, cut }: AuditVerification): string {
  const lines = faults.map(({ kind, position, message, after, before }) => {
    const between = after === undefined && before === undefined ? '' : ` (between ${after ?? 'the beginning'} and ${before ?? 'the end'})`;
    return `fail  ${kind} at position ${position}: ${message}${between}`;
  });
  if (faultCount > faults.length) lines.push(`fail  and ${faultCount - faults.length} more`);
  if (cut !== undefined)
    lines.push(`      begins behind position ${cut.position}: what was before was too old and was cut off on ${cut.at}`);
  if (unsealed !== undefined && unsealed.rows > 0)
    lines.push(`      ${unsealed.rows} rows since ${unsealed.since ?? '?'} wait to be sealed`);
  if (head !== undefined) lines.push(`      head ${head.position}:${head.hash}${head.at === undefined ? '' : ` of ${head.at}`}`);
  lines.push(
    faultCount === 0
      ? `pass  ${checked} rows are what was sealed`
      : `fail  the audit does not hold: ${faultCount} faults in ${checked} rows`,
  );
  return `${lines.join('\n')}\n`;
}
