import { Problem, toProblem } from '@virt8ra/contract';
import { errorCode } from '../files/atomic-file.js';

/** SQLSTATE classes and codes, and system errors, that say the database is away, busy or full rather than the request wrong. */
const awayCodes = /^(08...|57P0[1-5]|53300|ECONNREFUSED|ECONNRESET|ENOENT|EPIPE|ETIMEDOUT)$/;
const awayMessages =
  /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Cannot use a pool after)/;
const repeatCodes = /^(40001|40P01|55P03)$/;
const fullCodes = /^(53100|53200|53400)$/;

/** `unavailable` when the thrown value says that the database is away; undefined for everything else. */
export function absenceOf(thrown: unknown): Problem | undefined {
  if (thrown instanceof Problem) return undefined;
  const code = errorCode(thrown) ?? '';
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  // A file that is missing (ENOENT of open or stat) is no database that is away; connecting names itself.
  const connecting =
    typeof thrown === 'object' && thrown !== null && 'syscall' in thrown ? thrown.syscall === 'connect' || code !== 'ENOENT' : true;
  if (!(awayCodes.test(code) && connecting) && !awayMessages.test(message)) return undefined;
  return new Problem('unavailable', 'the database is not reachable at the moment; repeat the request', {
    retryAfterSeconds: 1,
    cause: thrown,
  });
}

/**
 * Any thrown value as a Problem, where what the `pg` library throws while the database is away, too busy or full becomes `unavailable`
 * (503 with Retry-After) instead of `internal`. For whoever answers requests or records failures.
 */
export function problemOf(thrown: unknown): Problem {
  const absence = absenceOf(thrown);
  if (absence !== undefined) return absence;
  const code = errorCode(thrown) ?? '';
  if (repeatCodes.test(code)) {
    return new Problem('unavailable', 'the database was too busy with the same thing; repeat the request', {
      retryAfterSeconds: 1,
      cause: thrown,
    });
  }
  if (fullCodes.test(code)) {
    return new Problem('unavailable', 'the database has no room left; the operator must free space', {
      retryAfterSeconds: 30,
      cause: thrown,
    });
  }
  return toProblem(thrown);
}
