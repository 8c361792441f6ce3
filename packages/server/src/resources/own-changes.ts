import type { AuditEntry } from './store.js';

type OwnVerb = 'put' | 'delete' | 'place' | 'remove';

/**
 * What a transaction has changed and nobody has written down: the control plane's own doing. Kept by the store itself, so that no way of
 * writing can forget it. Progress and observations are no changes of this sort: they have the feed.
 */
export interface OwnChanges {
  note(verb: OwnVerb, ref: string, entry: Pick<AuditEntry, 'code' | 'before' | 'after' | 'reason'>): void;
  /** Somebody's own words about the resource stand for what the transaction does to it. */
  covered(resource: string): void;
  rest(): readonly AuditEntry[];
}

export const controlPlaneSubject = 'virt8ra-server';

export function createOwnChanges(): OwnChanges {
  const noted: {
    readonly verb: OwnVerb;
    readonly ref: string;
    readonly entry: Pick<AuditEntry, 'code' | 'before' | 'after' | 'reason'>;
  }[] = [];
  const covered = new Set<string>();
  return {
    note: (verb, ref, entry) => void noted.push({ verb, ref, entry }),
    covered: (resource) => void covered.add(resource),
    rest: () =>
      noted
        // Where something is, is never its owner's word.
        .filter(({ verb, ref }) => verb === 'place' || !covered.has(ref))
        .map(({ verb, ref, entry }) => ({ subject: controlPlaneSubject, remote: '', verb, resource: ref, ...entry })),
  };
}

/** Where a resource is, in words. */
export function placeText(placement: unknown): string | undefined {
  if (typeof placement !== 'object' || placement === null) return undefined;
  const { site, host, cause } = placement as { readonly site?: string; readonly host?: string; readonly cause?: string };
  return [`site ${site ?? '?'}`, ...(host === undefined ? [] : [`host ${host}`]), ...(cause === undefined ? [] : [`(${cause})`])].join(' ');
}
