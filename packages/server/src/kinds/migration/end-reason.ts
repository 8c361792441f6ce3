import { type Problem, type ProblemKind, problemKinds } from '@virt8ra/contract';

/** Why a move ended, for its status. */
export interface EndReason {
  readonly message: string;
  readonly code: ProblemKind;
}

/** A site's own words for what broke there say more than what it meant for the move. */
export function reasonOf({ kind, message, facts }: Pick<Problem, 'kind' | 'message' | 'facts'>): EndReason {
  return { message, code: problemKinds.find((known) => known === facts['code']) ?? kind };
}
