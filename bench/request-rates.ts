import { role, roleAssignment, serviceAccount, subjectOfAccount, workspace } from '@virt8ra/contract';
import { closedLoop, type LoadConnection, type LoadFigures, type LoadRequest, openConnections } from './http-load.js';
import { cpuMsOf } from './program.js';
import { nameOf } from './scale.js';
import type { Served } from './served.js';
import { rounded } from './timing.js';

export interface RateFigures {
  readonly connections: number;
  readonly get: LoadFigures;
  readonly put: LoadFigures;
  /** What the server's process takes for a GET, and a list of 100, by somebody whose roles are looked at, against the operator: medians in turn. */
  readonly decision: {
    readonly assignments: number;
    readonly getShare: number;
    readonly listShare: number;
    readonly getMicroseconds: number;
    readonly listMicroseconds: number;
  };
}

const connections = 24;
const tenant = 'default';
const collection = `/providers/${workspace.provider}/${workspace.version}/tenants/${tenant}/${workspace.collection}`;
const sets = { roles: 100, others: 400, own: 50 };

/** How many requests a second there are, on a collection that is there already, and what the decision about each adds to them. */
export async function measureRates(served: Served, resources: number, quick: boolean): Promise<RateFigures> {
  const pick = (round: number) => nameOf((round * 7_919 + 13) % resources);
  const get = (round: number): LoadRequest => ({ method: 'GET', path: `${collection}/${pick(round)}` });
  const list = (): LoadRequest => ({ method: 'GET', path: `${collection}?limit=100` });
  const marks = { next: 0 };
  const put = (round: number): LoadRequest => {
    marks.next += 1;
    const labels = { block: `b${round % 100}`, touched: `r${marks.next}` };
    return { method: 'PUT', path: `${collection}/${pick(round)}`, body: JSON.stringify({ labels, spec: {} }) };
  };
  const operator = await openConnections(served.url, served.token, connections);
  const opened = [...operator];
  try {
    const figures = {
      get: await best(operator, quick, get),
      put: await best(operator, quick, put),
    };
    // Only now: the server closes what asks nothing for a while.
    const other = await openConnections(served.url, await tokenWithRoles(served), connections);
    opened.push(...other);
    const inTurn = async (requestOf: (round: number) => LoadRequest) =>
      await compare(served.program.pid, operator, other, quick ? 5 : 15, requestOf);
    const [gets, lists] = [await inTurn(get), await inTurn(list)];
    return {
      connections,
      ...figures,
      decision: {
        assignments: sets.own,
        getShare: gets.share,
        listShare: lists.share,
        getMicroseconds: gets.operator,
        listMicroseconds: lists.operator,
      },
    };
  } finally {
    for (const connection of opened) connection.close();
  }
}

/** Of several series behind a short one that warms up, the best: what else a machine does comes and goes. */
async function best(on: readonly LoadConnection[], quick: boolean, requestOf: (round: number) => LoadRequest): Promise<LoadFigures> {
  await closedLoop(on, 0.5, requestOf);
  const series: LoadFigures[] = [];
  for (let at = 0; at < (quick ? 2 : 3); at += 1) series.push(await closedLoop(on, quick ? 0.8 : 4, requestOf));
  return series.reduce((one, next) => (next.perSecond > one.perSecond ? next : one));
}

/** Microseconds of the server's process for a request of each, one behind the other again and again, and the median of the rounds' shares. */
async function compare(
  pid: number,
  operator: readonly LoadConnection[],
  other: readonly LoadConnection[],
  rounds: number,
  requestOf: (round: number) => LoadRequest,
): Promise<{ readonly share: number; readonly operator: number }> {
  const cost = async (on: readonly LoadConnection[]): Promise<number> => {
    const begin = cpuMsOf(pid);
    const { requests } = await closedLoop(on, 0.3, requestOf);
    return ((cpuMsOf(pid) - begin) * 1000) / requests;
  };
  await cost(other);
  await cost(operator);
  const shares: number[] = [];
  const costs: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    // Once in each order, so that what grows or settles meanwhile favours nobody.
    const first = round % 2 === 0 ? await cost(operator) : undefined;
    const with_ = await cost(other);
    const without = first ?? (await cost(operator));
    shares.push(with_ / without - 1);
    costs.push(without);
  }
  return { share: rounded(median(shares)), operator: rounded(median(costs)) };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  return Number.isInteger(middle) ? (at(middle - 1) + at(middle)) / 2 : at(Math.floor(middle));
}

/** Of a service account whose token gives nothing: one of its many assignments, the last, lets it do what is asked, in a tenant with many more. */
async function tokenWithRoles({ client }: Served): Promise<string> {
  const account = { tenant, name: 'load' };
  await client.put(serviceAccount, account, { spec: {} });
  const reads = { provider: workspace.provider, resources: ['workspaces', 'workspaces/*'], verb: ['get', 'list'] };
  const writes = {
    provider: 'seca.storage',
    resources: ['images', 'images/*', 'block-storages/*'],
    verb: ['get', 'list', 'put', 'delete'],
  };
  const names = Array.from({ length: sets.roles }, (_, index) => `load-${String(index).padStart(3, '0')}`);
  const last = names.length - 1;
  await Promise.all(
    names.map(async (name, index) => {
      const permissions = [writes, { ...writes, provider: 'seca.network', resources: ['networks/*'] }, ...(index === last ? [reads] : [])];
      await client.put(role, { tenant, name }, { spec: { permissions } });
    }),
  );
  const assign = async (name: string, subject: string, of: number): Promise<void> =>
    void (await client.put(roleAssignment, { tenant, name }, { spec: { subs: [subject], roles: [names[of] ?? ''], scopes: [{}] } }));
  const own = Array.from({ length: sets.own }, (_, index) => index);
  const others = Array.from({ length: sets.others }, (_, index) => index);
  await Promise.all([
    ...own.map(
      async (index) => await assign(`load-own-${String(index).padStart(3, '0')}`, subjectOfAccount(account), index + last + 1 - sets.own),
    ),
    ...others.map(async (index) => await assign(`load-other-${index}`, `somebody-${index}`, index % names.length)),
  ]);
  const { token } = (await client.act(serviceAccount, account, 'token', { body: { lifetimeSeconds: 3600 } })) as { readonly token: string };
  return token;
}
