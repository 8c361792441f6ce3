import { type Static, Type } from 'typebox';
import { oneOf } from './shape.js';

/** `blocks`: the move would be refused or could not end well. `warns`: it goes, and somebody should know. `info`: nothing is wrong. */
export const moveSeverities = ['blocks', 'warns', 'info'] as const;
export type MoveSeverity = (typeof moveSeverities)[number];

/** What was found before a move: `code` for programs, what it is, where it was seen, and what mends it. */
export const MoveFinding = Type.Object({
  code: Type.String({ maxLength: 64 }),
  severity: oneOf(moveSeverities),
  what: Type.String({ maxLength: 4096 }),
  /** Such as `instance/web`, `host/alpha-1` or `/etc/fstab:3`. */
  where: Type.String({ maxLength: 512 }),
  mend: Type.String({ maxLength: 4096 }),
});
export type MoveFinding = Readonly<Static<typeof MoveFinding>>;
