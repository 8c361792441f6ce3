import { Problem, type RestoreDifferences, RestoreRelease, type RestoreReleased } from '@virt8ra/contract';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { Check } from 'typebox/value';
import { subjectOf } from '../http/subject-of-request.js';
import { compare } from './compare.js';
import { readComparison } from './read-comparison.js';
import { release } from './release.js';
import { readRestore, type Standstill } from './standstill.js';

export const restoreBase = '/providers/virt8ra.restore/v1beta1';

/**
 * `GET …/differences`: the newest restore, which hosts were compared, and what differs between them and the database. `POST …/release`: ends the
 * standstill. Both for operators.
 */
export function addRestoreRoutes(
  app: FastifyInstance,
  { pool, standstill }: { readonly pool: Pool; readonly standstill: Standstill },
): void {
  app.get(`${restoreBase}/differences`, { config: { access: 'caller' } }, async (request): Promise<RestoreDifferences> => {
    assertOperator(request);
    const restore = await readRestore(pool);
    const { comparison, standings, strangers } = await readComparison(pool);
    const withheld = await pool.query<{ kind: string; name: string; message: string; since: Date }>(
      `select kind, name, message, since from withheld join resource using (uid)
        where withheld.resource_version = resource.resource_version and deleted_at is null order by kind, name`,
    );
    return {
      state: restore === undefined ? 'never-restored' : restore.releasedAt === undefined ? 'standstill' : 'released',
      ...(restore === undefined ? {} : { restore }),
      hosts: [...standings],
      strangers: [...strangers],
      items: restore === undefined ? [] : [...compare(comparison)],
      withheld: withheld.rows.map(({ since, ...row }) => ({ ...row, since: since.toISOString() })),
    };
  });
  app.post(`${restoreBase}/release`, { config: { access: 'caller' } }, async (request): Promise<RestoreReleased> => {
    assertOperator(request);
    const { name, remote } = subjectOf(request);
    const body = request.body ?? {};
    if (!Check(RestoreRelease, body))
      throw new Problem('validation', 'the body may hold changed (keep or apply) and withoutHosts (true or false)', {
        sources: [{ pointer: '' }],
      });
    const { changed = 'keep', withoutHosts = false } = body;
    const released = await release(pool, { changed, withoutHosts, by: name, remote });
    await standstill.look();
    return { ...released, hosts: [...released.hosts], held: [...released.held], endedRuns: [...released.endedRuns] };
  });
}

function assertOperator(request: FastifyRequest): void {
  if (!subjectOf(request).operator) throw new Problem('forbidden', 'only the operator may look at a restore, and release it');
}
