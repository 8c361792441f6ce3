import { type AuditRecord, activityLog, type Kind, Problem } from '@virt8ra/contract';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Pool } from 'pg';
import { namesShownOf, type RouteAccess } from '../http/access.js';
import { listQueryOf, tokenFromPosition } from '../http/list-request.js';
import { addressOfRequest, collectionRoute, type PathParameters, placeOfRequest } from '../http/request-address.js';
import { resourceDocument } from '../http/resource-document.js';
import { subjectOf } from '../http/subject-of-request.js';
import { matchesSelector } from '../resources/label-selector.js';
import type { AuditSigner } from './audit-key.js';
import { type AuditQuery, findAuditRecord, readAudit } from './read-audit.js';
import { headFromText, verifyAudit } from './verify-audit.js';

interface Parameters {
  readonly Params: PathParameters;
  readonly Querystring: Readonly<Record<string, unknown>>;
}

export interface AuditRoutesOptions {
  readonly pool: Pool;
  readonly signer: AuditSigner;
}

const base = '/providers/virt8ra.audit/v1beta1';
/** Seals of one answer, so that each comes within seconds. */
const sealsMost = 20_000;

/**
 * `GET …/entries` and `…/tenants/{tenant}/entries`: the audit, newest first, by pages; `?resource=URN` that of one resource. `GET
 * …/verification`: whether the chain holds, a part at a time. Activity logs are the same rows as SECA shapes them. Nothing here writes.
 */
export function addAuditRoutes(app: FastifyInstance, { pool, signer }: AuditRoutesOptions): void {
  const page = async (
    within: Pick<AuditQuery, 'tenant' | 'workspace'>,
    { query, headers }: { query: Parameters['Querystring']; headers: { accept?: string | undefined } },
  ) => {
    const resource = resourceOf(query['resource']);
    const bound = `audit ${within.tenant ?? ''} ${within.workspace ?? ''} ${resource ?? ''}`;
    const { selector, deleted, ...asked } = listQueryOf(query, headers.accept, bound);
    // None of them has labels, and none is ever deleted.
    const none = deleted === 'only' || !matchesSelector(selector, {});
    const { items, next } = none
      ? { items: [], next: undefined }
      : await readAudit(pool, { ...within, ...asked, ...(resource === undefined ? {} : { resource }) });
    return { items, ...(next === undefined ? {} : { skipToken: tokenFromPosition(next, bound) }) };
  };

  app.get<Parameters>(`${base}/entries`, { config: { access: 'caller' } }, async (request) => {
    assertOperator(subjectOf(request).operator);
    const { items, ...metadata } = await page({}, request);
    return { items, metadata: { provider: 'virt8ra.audit/v1beta1', resource: 'entries', verb: 'GET', ...metadata } };
  });
  app.get<Parameters>(`${base}/tenants/:tenant/entries`, mayList(ofTenant), async (request) => {
    assertWhole(request);
    const { items, ...metadata } = await page({ tenant: request.params['tenant'] ?? '' }, request);
    return { items, metadata: { provider: 'virt8ra.audit/v1beta1', resource: 'entries', verb: 'GET', ...metadata } };
  });
  app.get<Parameters>(`${base}/verification`, { config: { access: 'caller' } }, async (request) => {
    assertOperator(subjectOf(request).operator);
    const { after, head } = request.query;
    const expected = headFromText(head, 'head');
    return await verifyAudit(pool, {
      signer,
      after: positionFrom(after),
      limit: sealsMost,
      ...(expected === undefined ? {} : { expected }),
    });
  });

  const collection = collectionRoute(activityLog);
  app.get<Parameters>(collection, mayList(activityLog), async (request) => {
    assertWhole(request);
    const { tenant = '', workspace = '' } = placeOfRequest(activityLog, request.params);
    const { items, ...metadata } = await page({ tenant, workspace }, request);
    return {
      items: items.map((record) => activityFrom(record, { tenant, workspace }, signer.region)),
      metadata: { provider: `${activityLog.provider}/${activityLog.version}`, resource: activityLog.collection, verb: 'GET', ...metadata },
    };
  });
  app.get<Parameters>(`${collection}/:name`, mayGet, async (request) => {
    const { tenant = '', workspace = '', name } = addressOfRequest(activityLog, request.params);
    const record = await findAuditRecord(pool, name.replace('-', '_'), { tenant, workspace });
    if (record === undefined) throw new Problem('not-found', `there is no activity log ${name} of workspace ${workspace}`);
    return activityFrom(record, { tenant, workspace }, signer.region);
  });
  app.get<Parameters>(`${collection}/:name/progress`, mayGet, async () => {
    throw new Problem('not-found', 'nothing is ever under way on an activity log');
  });
}

/** The tenant's audit is read by whoever may read the activity logs of all its workspaces. */
const ofTenant: Kind = { ...activityLog, scope: 'tenant' };
const mayList = (kind: Kind): { readonly config: { readonly access: RouteAccess } } => ({ config: { access: { kind, verb: 'list' } } });
const mayGet = { config: { access: { kind: activityLog as Kind, verb: 'get' } } } as const;

/** A role that names single rows lets these be read one by one. */
function assertWhole(request: FastifyRequest): void {
  const { names } = namesShownOf(request);
  if (names !== undefined) throw new Problem('forbidden', 'no role lets you list activity logs; read those that you may see by name');
}

function assertOperator(operator: boolean): void {
  if (!operator)
    throw new Problem('forbidden', 'only the operator may read the audit of all tenants; name one: …/tenants/{tenant}/entries');
}

function resourceOf(given: unknown): string | undefined {
  if (given === undefined || given === '') return undefined;
  if (typeof given === 'string' && given.length <= 2000 && !given.includes('\0')) return given;
  throw new Problem('invalid-request', 'resource must be the URN of one resource', { sources: [{ parameter: 'resource' }] });
}

function positionFrom(given: unknown): bigint {
  if (given === undefined || given === '') return 0n;
  if (typeof given === 'string' && /^\d{1,18}$/.test(given)) return BigInt(given);
  throw new Problem('invalid-request', 'after must be a position of the chain', { sources: [{ parameter: 'after' }] });
}

/** SECA knows three verbs that have room for seven letters; what was done to a part of a resource is in the path. */
function activityFrom(record: AuditRecord, place: { readonly tenant: string; readonly workspace: string }, region: string) {
  const { id, at, subject, resource, code, remote, before, after, reason } = record;
  const [, act = '', part] = /^([^.]+)(?:\.(.+))?$/.exec(record.verb) ?? [];
  const said = { remote, before, after, reason };
  const document = resourceDocument(
    activityLog,
    {
      uid: 'res_',
      kind: activityLog.kind,
      address: { ...place, name: id.replace('_', '-') },
      labels: {},
      annotations: {},
      extensions: Object.fromEntries(
        Object.entries(said).flatMap(([name, value]) => (value === undefined || value === '' ? [] : [[`virt8ra.${name}`, value]])),
      ),
      spec: {
        subject,
        request: {
          verb: act === 'open' || act === 'close' ? 'get' : act,
          resource: `${resource}${part === undefined ? '' : `/${part}`}`,
          body: {},
        },
        response: { code },
      },
      status: {},
      state: 'active',
      conditions: [],
      resourceVersion: 1,
      revision: '',
      createdAt: at,
      lastModifiedAt: at,
      deletedAt: undefined,
    },
    'GET',
    region,
  );
  return document;
}
