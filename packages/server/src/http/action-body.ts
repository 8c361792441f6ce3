import type { Kind } from '@virt8ra/contract';
import { problemOfFaults } from './resource-body.js';
import { createShapeCheck } from './shape-check.js';

/** Checks what is sent with an action. Raises `validation` with pointers. What comes with an action that takes nothing is ignored. */
export function createActionBodyParser(kind: Kind, action: string): (body: unknown) => unknown {
  const shape = kind.actionBodies[action];
  if (shape === undefined) return () => ({});
  const check = createShapeCheck(shape);
  return (body) => {
    const given = body ?? {};
    const faults = check(given, '');
    if (faults.length > 0) throw problemOfFaults(faults);
    return given;
  };
}
