import type { Subject } from '../kinds/behaviour.js';

/** Who a token speaks for. */
export interface Identity extends Omit<Subject, 'remote'> {
  /** Of a service account: the resource that must still be there. */
  readonly account?: string;
}

/** Longer tokens are not worth a signature check. Those of big organisations carry many groups. */
export const longestToken = 16_384;

export const clockToleranceSeconds = 30;

export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
