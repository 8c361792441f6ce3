import { Problem, type QuotaSpec, quota, quotaUnits } from '@virt8ra/contract';
import type { Pool } from 'pg';
import { useOf } from '../../quotas/count-quota.js';
import type { KindBehaviour, Subject } from '../behaviour.js';

/** Quotas are records: what they bound is counted where resources are written. */
export function createQuotaBehaviour(pool: Pool): KindBehaviour<QuotaSpec> {
  return {
    kind: quota,
    async admitPut(tx, { address, next, subject }) {
      assertOperator(subject);
      // Whoever is making something holds its workspace: what is under way is counted before this quota begins to bound.
      await tx.client.query(
        `select 1 from resource where kind = 'workspace' and parent = $1 and ($2::text is null or name = $2) order by name for no key update`,
        [`tenants/${address.tenant ?? ''}`, next.spec.workspace ?? null],
      );
      return { outcome: 'active' };
    },
    async admitDelete(_tx, _resource, subject) {
      assertOperator(subject);
    },
    /** Of what each limits, and nothing else; one question for a tenant. */
    async present(_reader, resources) {
      const tenants = [...new Set(resources.map(({ address }) => address.tenant ?? ''))];
      const used = new Map<string, ReadonlyMap<string, number>>();
      for (const tenant of tenants) {
        const places = resources.filter(({ address }) => address.tenant === tenant).map(({ spec }) => spec.workspace ?? '');
        used.set(tenant, await useOf({ client: pool }, tenant, [...new Set(places)], quotaUnits));
      }
      return resources.map(({ address, spec }) => {
        const units = quotaUnits.filter((unit) => spec.limits[unit] !== undefined);
        const of = (unit: string): number => used.get(address.tenant ?? '')?.get(`${spec.workspace ?? ''} ${unit}`) ?? 0;
        return { used: Object.fromEntries(units.map((unit) => [unit, of(unit)])) };
      });
    },
  };
}

function assertOperator(subject: Subject): void {
  if (!subject.operator) throw new Problem('forbidden', 'only the operator of this control plane may change a quota');
}
