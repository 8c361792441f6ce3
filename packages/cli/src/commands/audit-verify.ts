import { type AuditFault, type AuditVerification, auditVerificationText } from '@virt8ra/contract';
import { yamlText } from '../output/yaml.js';
import type { Session } from '../session.js';

export interface AuditVerifyFlags {
  readonly head?: string;
}

const faultsTold = 20;

/** Has the control plane compare rows, links and signatures, part by part. Answers the exit code: 1 when something does not hold. */
export async function auditVerify(session: Session, { head }: AuditVerifyFlags): Promise<0 | 1> {
  const faults: AuditFault[] = [];
  let checked = 0;
  let faultCount = 0;
  let last: AuditVerification | undefined;
  let cut: AuditVerification['cut'];
  do {
    last = await session.client.auditVerification({ after: last?.next, head });
    checked += last.checked;
    faultCount += last.faultCount;
    faults.push(...last.faults.slice(0, faultsTold - faults.length));
    cut ??= last.cut;
  } while (last.next !== undefined);
  const { next: _, ...end } = last;
  const whole: AuditVerification = { ...end, checked, faults, faultCount, ...(cut === undefined ? {} : { cut }) };
  const { terminal, format } = session;
  if (format === 'json') terminal.out(`${JSON.stringify(whole, undefined, 2)}\n`);
  else if (format === 'yaml') terminal.out(await yamlText(whole));
  else terminal.out(auditVerificationText(whole));
  return faultCount === 0 ? 0 : 1;
}
