import { type Static, Type } from 'typebox';
import { oneOf } from './shape.js';

const Position = Type.Integer({ minimum: 0 });

/** A row of the audit: who asked for what, from where, and what was decided. */
export const AuditRecord = Type.Object({
  id: Type.String(),
  at: Type.String(),
  /** Who; `virt8ra-server` for what the control plane did of its own. */
  subject: Type.String(),
  /** Address of the peer; empty for the control plane itself. */
  remote: Type.String(),
  /** `put`, `delete`, `post.ACTION`, `open.PLACE`, `close.PLACE`; of the control plane itself also `place`, `remove`, `cut`. */
  verb: Type.String(),
  /** URN. */
  resource: Type.String(),
  decision: oneOf(['allowed', 'refused']),
  /** HTTP status of the answer. */
  code: Type.Integer(),
  /** Version and digest of what the owner had said before, and says now. */
  before: Type.Optional(Type.String()),
  after: Type.Optional(Type.String()),
  reason: Type.Optional(Type.String()),
  /** Place in the chain and hash of the seal; absent until it is sealed, which takes seconds. */
  position: Type.Optional(Position),
  hash: Type.Optional(Type.String()),
});
export type AuditRecord = Readonly<Static<typeof AuditRecord>>;

/**
 * What does not hold. `changed`: a row is not what was sealed; `removed`: one is gone; `inserted`: one came in behind the chain's back;
 * `moved`: one stands at another's place; `rewritten`: seals are not those that were signed; `unsigned`: nothing signed covers them.
 */
export const auditFaultKinds = ['changed', 'removed', 'inserted', 'moved', 'rewritten', 'unsigned'] as const;
export type AuditFaultKind = (typeof auditFaultKinds)[number];

export const AuditFault = Type.Object({
  kind: oneOf(auditFaultKinds),
  /** Of the seal at fault, or of the one before. */
  position: Position,
  id: Type.Optional(Type.String()),
  message: Type.String(),
  /** Times of the sound rows around it. */
  after: Type.Optional(Type.String()),
  before: Type.Optional(Type.String()),
});
export type AuditFault = Readonly<Static<typeof AuditFault>>;

/** What a look at a part of the chain found. */
export const AuditVerification = Type.Object({
  /** Seals and rows that were compared. */
  checked: Type.Integer({ minimum: 0 }),
  /** The first few. */
  faults: Type.Array(AuditFault),
  faultCount: Type.Integer({ minimum: 0 }),
  /** Go on behind this position; absent at the end. */
  next: Type.Optional(Position),
  /** The last seal that was looked at: to be named at a later verification, which then sees when the end was cut off. */
  head: Type.Optional(Type.Object({ position: Position, hash: Type.String(), at: Type.Optional(Type.String()) })),
  /** At the end: rows that wait to be sealed, and since when. */
  unsealed: Type.Optional(Type.Object({ rows: Type.Integer({ minimum: 0 }), since: Type.Optional(Type.String()) })),
  /** At the beginning: what was removed by age, under signature. */
  cut: Type.Optional(Type.Object({ position: Position, at: Type.String() })),
});
export type AuditVerification = Readonly<Static<typeof AuditVerification>>;

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
