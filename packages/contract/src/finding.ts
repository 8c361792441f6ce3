/** What a doctor found at one place: `warn` works and should be mended, `fail` does not work. */
export interface Finding {
  /** What was looked at, such as `network/control-plane`. */
  readonly check: string;
  readonly level: FindingLevel;
  readonly message: string;
  /** How to mend it; for `warn` and `fail`. */
  readonly mend?: string;
}

export const findingLevels = ['pass', 'warn', 'fail'] as const;
export type FindingLevel = (typeof findingLevels)[number];

export function found(check: string, level: FindingLevel, message: string, mend?: string): Finding {
  return { check, level, message, ...(mend === undefined || level === 'pass' ? {} : { mend }) };
}

/** 0 unless something failed. */
export function exitCodeOfFindings(findings: readonly Finding[]): 0 | 1 {
  return findings.some(({ level }) => level === 'fail') ? 1 : 0;
}

/** One line for each, how to mend it below, and a count at the end. */
export function findingsText(findings: readonly Finding[]): string {
  const width = Math.max(0, ...findings.map(({ check }) => check.length));
  const lines = findings.flatMap(({ check, level, message, mend }) => [
    `${level}  ${check.padEnd(width)}  ${message}`,
    ...(mend === undefined ? [] : [`${' '.repeat(width + 8)}→ ${mend}`]),
  ]);
  const count = (wanted: FindingLevel): number => findings.filter(({ level }) => level === wanted).length;
  return [...lines, `${count('pass')} passed, ${count('warn')} to look at, ${count('fail')} failed`, ''].join('\n');
}

const day = 24 * 3600 * 1000;

/** How long a certificate, or anything else that runs out, is still good. `renews`: someone renews it before, so that half its life is the limit. */
export function lifetimeFinding(
  check: string,
  what: string,
  life: { readonly from: number; readonly until: number; readonly now: number; readonly renews: boolean },
  mend: string,
): Finding {
  const { from, until, now, renews } = life;
  const left = until - now;
  if (left <= 0) return found(check, 'fail', `${what} ran out on ${new Date(until).toISOString()}`, mend);
  const early = renews ? left < ((until - from) / 2) * 0.9 : left < 30 * day;
  const days = left / day;
  const text = days >= 2 ? `${Math.floor(days)} days` : `${Math.max(1, Math.floor(days * 24))} hours`;
  return found(check, early ? 'warn' : 'pass', `${what} is good for ${text}`, mend);
}

/** Whether this clock agrees with another's: `offsetMs` is theirs less ours, known to within `uncertaintyMs`. */
export function clockFinding(check: string, whose: string, offsetMs: number, uncertaintyMs: number): Finding {
  const apart = Math.max(0, Math.abs(offsetMs) - uncertaintyMs);
  const seconds = `${(Math.abs(offsetMs) / 1000).toFixed(1)} s`;
  const level = apart > 30_000 ? 'fail' : apart > 2_000 ? 'warn' : 'pass';
  const message = level === 'pass' ? `agrees with ${whose}` : `is ${seconds} ${offsetMs > 0 ? 'behind' : 'ahead of'} ${whose}`;
  return found(check, level, message, 'let chrony or systemd-timesyncd keep both clocks');
}
