import { instance as instanceKind, type MigrationPlan, MigrationPlanRequest, migration } from '@virt8ra/contract';
import type { FastifyInstance } from 'fastify';
import type { Access } from '../http/access.js';
import { type PathParameters, placeOfRequest } from '../http/request-address.js';
import { problemOfFaults } from '../http/resource-body.js';
import { createShapeCheck } from '../http/shape-check.js';
import { subjectOf } from '../http/subject-of-request.js';
import type { KindContext } from '../kinds/context.js';
import { planMigration } from '../kinds/migration/index.js';

const path = '/providers/virt8ra.migration/v1beta1/tenants/:tenant/workspaces/:workspace/migration-plans';

/**
 * `POST …/migration-plans`: what a migration would do. It changes nothing, so that nothing of it is on record; but it has hosts asked, and is for those
 * who may make the migration.
 */
export function addMigrationPlanRoute(
  app: FastifyInstance,
  { context, access }: { readonly context: KindContext; readonly access: Pick<Access, 'maySee'> },
): void {
  const check = createShapeCheck(MigrationPlanRequest);
  app.post<{ Params: PathParameters }>(
    path,
    { config: { access: { kind: migration, verb: 'put' } } },
    async (request): Promise<MigrationPlan> => {
      const subject = subjectOf(request);
      const place = placeOfRequest(migration, request.params);
      const body = request.body ?? {};
      const faults = check(body, '');
      if (faults.length > 0) throw problemOfFaults(faults);
      const { spec, measure = false, inspect = false } = body as MigrationPlanRequest;
      return await planMigration(context, {
        address: { ...place, name: 'plan' },
        spec,
        measure,
        inspect,
        maySee: async ({ address: { name, ...within } }) => await access.maySee(subject, { kind: instanceKind, place: within, name }),
      });
    },
  );
}
