import { type Kind, Problem } from '@virt8ra/contract';

export function absentResource(kind: Kind, name: string): Problem {
  return new Problem('not-found', `there is no ${kind.kind} ${name}`);
}
