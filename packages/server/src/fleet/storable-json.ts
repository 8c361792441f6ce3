/** What PostgreSQL's jsonb cannot hold: NUL, and halves of surrogate pairs. */
const unstorable = /[\0\p{Surrogate}]/gu;

/** JSON text that jsonb takes, whatever an agent wrote: what it cannot hold becomes the replacement character. */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) => (typeof member === 'string' ? member.replace(unstorable, '\uFFFD') : member));
}

/** True when nothing in it would have to be replaced. */
export function isStorable(value: unknown): boolean {
  return storableJson(value) === JSON.stringify(value);
}
