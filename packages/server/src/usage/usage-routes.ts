import { instance, type Kind, Problem, type UsageRecord, usageColumns } from '@virt8ra/contract';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Pool } from 'pg';
import { namesShownOf } from '../http/access.js';
import { listQueryOf, tokenFromPosition } from '../http/list-request.js';
import type { PathParameters } from '../http/request-address.js';
import { readUsage } from './read-usage.js';

interface Parameters {
  readonly Params: PathParameters;
  readonly Querystring: Readonly<Record<string, unknown>>;
}

const base = '/providers/virt8ra.usage/v1beta1/tenants/:tenant';

/**
 * `GET …/usage-records` of a tenant or a workspace, by pages; `?from` and `?to` bound the hours. As JSON, or as `Accept` asks: `text/csv` or
 * `application/x-ndjson`, then the next page's token is in the header `x-skip-token`.
 */
export function addUsageRoutes(app: FastifyInstance, pool: Pool): void {
  // Who may list the instances of a place may know what was used there.
  for (const [path, scope] of [
    [`${base}/usage-records`, 'tenant'],
    [`${base}/workspaces/:workspace/usage-records`, 'workspace'],
  ] as const) {
    const kind: Kind = { ...instance, scope };
    app.get<Parameters>(path, { config: { access: { kind, verb: 'list' } } }, async (request, reply) => {
      const { tenant = '', workspace } = request.params;
      if (namesShownOf(request).names !== undefined)
        throw new Problem('forbidden', 'no role lets you list all instances, whose usage this is');
      const [from, to] = [timeOf(request.query, 'from'), timeOf(request.query, 'to')];
      const bound = `usage ${tenant} ${workspace ?? ''} ${from?.toISOString() ?? ''} ${to?.toISOString() ?? ''}`;
      const { limit, after } = listQueryOf(request.query, undefined, bound);
      const { items, next } = await readUsage(pool, {
        tenant,
        limit,
        after,
        ...(workspace === undefined ? {} : { workspace }),
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
      });
      const skipToken = next === undefined ? undefined : tokenFromPosition(next, bound);
      return await answer(reply, request.headers.accept ?? '', items, skipToken, after === undefined);
    });
  }
}

async function answer(
  reply: FastifyReply,
  accept: string,
  items: readonly UsageRecord[],
  skipToken: string | undefined,
  first: boolean,
): Promise<unknown> {
  const csv = /^\s*text\/csv\b/i.test(accept);
  const lines = /^\s*application\/(x-ndjson|jsonl)\b/i.test(accept);
  if (!csv && !lines)
    return {
      items,
      metadata: {
        provider: 'virt8ra.usage/v1beta1',
        resource: 'usage-records',
        verb: 'GET',
        ...(skipToken === undefined ? {} : { skipToken }),
      },
    };
  if (skipToken !== undefined) void reply.header('x-skip-token', skipToken);
  // Pages one behind the other are one file: titles stand on the first.
  const text = csv
    ? [...(first ? [usageColumns] : []), ...items.map((item) => usageColumns.map((column) => item[column] ?? ''))].map(
        (row) => `${row.join(',')}\r\n`,
      )
    : items.map((item) => `${JSON.stringify(item)}\n`);
  return await reply.type(csv ? 'text/csv; charset=utf-8' : 'application/x-ndjson').send(text.join(''));
}

function timeOf(query: Parameters['Querystring'], name: 'from' | 'to'): Date | undefined {
  const given = query[name];
  if (given === undefined || given === '') return undefined;
  const at = typeof given === 'string' && /^\d{4}-\d\d-\d\d/.test(given) ? new Date(given) : undefined;
  if (at === undefined || Number.isNaN(at.getTime()))
    throw new Problem('invalid-request', `${name} must be a time such as 2026-01-31 or 2026-01-31T12:00:00Z`, {
      sources: [{ parameter: name }],
    });
  return at;
}
