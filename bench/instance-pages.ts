import { blockStorage, instance, network, nic, subnet, workspace } from '@virt8ra/contract';
import { openStateDatabase } from '@virt8ra/server/testing';
import { closedLoop, type LoadFigures, type LoadRequest, openConnections, openLoop } from './http-load.js';
import type { Served } from './served.js';
import { rounded } from './timing.js';

export interface PageFigures {
  readonly instances: number;
  /** One after the other, from places all over the collection. */
  readonly page: LoadFigures & { readonly items: number; readonly KiB: number };
  /** One of 200 that share a label, in an open loop. */
  readonly labels: LoadFigures & { readonly items: number };
  /** GETs of single instances, as many as there can be. */
  readonly get: LoadFigures;
}

const instances = 20_000;
const pageSize = 1000;
const sharing = 200;
const labelQueriesPerSecond = 30;
const place = { tenant: 'default', workspace: 'load' };
const collection = `/providers/${instance.provider}/${instance.version}/tenants/${place.tenant}/workspaces/${place.workspace}/${instance.collection}`;

/** Pages and selections of instances, each with a disk and a NIC of its own. */
export async function measurePages(served: Served, quick: boolean): Promise<PageFigures> {
  await fill(served);
  const one = await openConnections(served.url, served.token, 1);
  const many = await openConnections(served.url, served.token, 24);
  try {
    const pages = await readPages(one[0]);
    const page = (round: number): LoadRequest => ({ method: 'GET', path: pages.paths[(round * 7) % pages.paths.length] ?? '' });
    const label = (round: number): LoadRequest => ({
      method: 'GET',
      path: `${collection}?labels=fleet%3Df${(round * 37) % (instances / sharing)}`,
    });
    const found: number[] = [];
    const paged = await closedLoop(one, quick ? 2.5 : 15, page);
    const labels = await openLoop(many, labelQueriesPerSecond, quick ? 3 : 20, label, ({ body }) => {
      found.push((JSON.parse(body.toString('utf8')) as { readonly items: readonly unknown[] }).items.length);
    });
    if (found.some((items) => items !== sharing)) throw new Error(`a label was found ${found.find((items) => items !== sharing)} times`);
    const get = (round: number): LoadRequest => ({
      method: 'GET',
      path: `${collection}/${nameOf(1 + ((round * 7_919 + 13) % instances))}`,
    });
    await closedLoop(many, 0.5, get);
    return {
      instances,
      page: { ...paged, items: pageSize, KiB: pages.KiB },
      labels: { ...labels, items: sharing },
      get: await closedLoop(many, quick ? 0.8 : 4, get),
    };
  } finally {
    for (const connection of [...one, ...many]) connection.close();
    // Whoever links a host next must not be given a guest.
    await served.client.delete(instance, { ...place, name: 'model' });
  }
}

function nameOf(index: number): string {
  return `i${String(index).padStart(5, '0')}`;
}

/** Walks the collection once: every page is whole. */
async function readPages(
  connection: Awaited<ReturnType<typeof openConnections>>[number] | undefined,
): Promise<{ readonly paths: readonly string[]; readonly KiB: number }> {
  const paths: string[] = [];
  let bytes = 0;
  let seen = 0;
  for (let token: string | undefined = ''; token !== undefined; ) {
    const path = `${collection}?limit=${pageSize}${token === '' ? '' : `&skipToken=${encodeURIComponent(token)}`}`;
    const answer = await connection?.ask({ method: 'GET', path });
    const text = answer?.body.toString('utf8') ?? '';
    const body = JSON.parse(text) as {
      readonly items?: readonly { readonly status?: { readonly addresses?: readonly string[] } }[];
      readonly metadata?: { readonly skipToken?: string };
    };
    const { items = [], metadata } = body;
    if (items.some(({ status }) => status?.addresses?.length !== 1)) throw new Error('an instance without its address');
    seen += items.length;
    bytes += answer?.body.length ?? 0;
    if (items.length === pageSize) paths.push(path);
    token = metadata?.skipToken;
  }
  if (seen !== instances + 1) throw new Error(`${seen} instances instead of ${instances + 1}`);
  return { paths, KiB: rounded(bytes / 1024 / (seen / pageSize)) };
}

/** One of each through the API, then copies of their rows: what the API would write, but for the work that each would set in motion. */
async function fill({ client, state }: Served): Promise<void> {
  const model = { ...place, name: 'model' };
  await client.put(workspace, { tenant: place.tenant, name: place.workspace }, { spec: {} });
  await client.put(network, { ...place, name: 'net' }, { spec: { cidr: { ipv4: '10.64.0.0/10' }, skuRef: 'skus/n1k' } });
  await client.put(subnet, { ...place, network: 'net', name: 'all' }, { spec: { cidr: { ipv4: '10.64.0.0/16' } } });
  await client.put(nic, model, { spec: { addresses: ['0.0.0.0'], subnetRef: 'networks/net/subnets/all' } });
  await client.put(blockStorage, model, { spec: { skuRef: 'skus/rd100', sizeGB: 1 } });
  await client.put(instance, model, {
    labels: { fleet: 'none', tier: 'web' },
    extensions: { 'virt8ra.power': 'on' },
    spec: { zone: 'any', skuRef: 'skus/seca.xs', bootVolume: { deviceRef: 'block-storages/model' }, primaryNicRef: 'nics/model' },
  });
  const pool = await openStateDatabase(state);
  try {
    await pool.query(copySql, [instances, instances / sharing, `tenants/${place.tenant}/workspaces/${place.workspace}`]);
  } finally {
    await pool.end();
  }
}

const copySql = `
with model as (
  select * from resource where parent = $3 and name = 'model' and kind in ('instance', 'block-storage', 'nic')
), numbers as (
  select number, 'i' || lpad(number::text, 5, '0') as name from generate_series(1, $1::integer) as number
), made as (
  insert into resource (uid, kind, parent, name, ref, tenant, workspace, labels, annotations, extensions, spec, status, state, conditions, created_at,
    last_modified_at)
  select uid || '-' || numbers.name, kind, parent, numbers.name, replace(ref, '/model', '/' || numbers.name), tenant, workspace,
    case kind when 'instance' then labels || jsonb_build_object('fleet', 'f' || number % $2::integer) else labels end, annotations, extensions,
    replace(spec::text, '/model"', '/' || numbers.name || '"')::jsonb, status, state, conditions, created_at, last_modified_at
  from numbers cross join model
  returning kind, parent, name, labels
), labelled as (
  insert into resource_label (kind, parent, key, value, name)
  select kind, parent, label.key, label.value, name from made cross join jsonb_each_text(labels) as label
)
insert into resource_reference (uid, pointer, target_uid, given)
select model.uid || '-' || numbers.name, pointer,
  case when target_uid in (select uid from model) then target_uid || '-' || numbers.name else target_uid end,
  replace(given::text, '/model"', '/' || numbers.name || '"')::jsonb
from numbers cross join model join resource_reference using (uid)`;
