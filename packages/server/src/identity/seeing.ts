import type { Subject } from '../kinds/behaviour.js';
import { permits, type Question } from './decide.js';
import type { Grants } from './grants.js';

/** What a subject may get of one tenant, as it is at this moment. */
export type Seeing = (
  subject: Omit<Subject, 'remote'>,
  tenant: string | undefined,
) => Promise<(question: Omit<Question, 'verb'>) => boolean>;

export function createSeeing({ grants, region }: { readonly grants: Grants; readonly region: string }): Seeing {
  return async (subject, tenant) => {
    if (!hasTenant(subject, tenant)) return () => false;
    if (tenant === undefined || subject.operator) return () => true;
    const given = [...grants.ofToken(subject), ...(await grants.of(subject, tenant)).grants];
    return (question) => permits({ grants: given, within: subject.within, region }, { ...question, verb: 'get' });
  };
}

export function hasTenant({ tenants }: Pick<Subject, 'tenants'>, tenant: string | undefined): boolean {
  return tenant === undefined || tenants === 'all' || tenants.includes(tenant);
}
