import { type Feed, rest } from '@virt8ra/client';
import { workspace } from '@virt8ra/contract';
import { memoryOf } from './program.js';
import type { Served } from './served.js';
import { type Timing, timed } from './timing.js';

/** What one size of the collection costs. */
export interface ScaleRow {
  readonly resources: number;
  readonly writesPerSecond: number;
  readonly get: Timing;
  readonly put: Timing;
  readonly list: Timing;
  readonly labels: Timing;
  readonly watch: Timing;
  readonly serverMiB: number;
}

const tenant = 'default';
const pageSize = 100;
const writers = 16;
const rounds = { get: 150, put: 60, page: 40, watch: 120 } as const;

/** Grows a collection of workspaces to each size through the API and measures there. Sizes must ascend. */
export async function measureScale(served: Served, sizes: readonly number[], tell: (text: string) => void): Promise<readonly ScaleRow[]> {
  const rows: ScaleRow[] = [];
  let stored = 0;
  for (const resources of sizes) {
    const begin = performance.now();
    await fill(served, stored, resources);
    const writesPerSecond = Math.round(((resources - stored) / (performance.now() - begin)) * 1000);
    stored = resources;
    await quiet(served, resources);
    tell(`${resources} resources stored, ${writesPerSecond} a second`);
    rows.push({ resources, writesPerSecond, ...(await measure(served, resources)), serverMiB: memoryOf(served.program.pid)?.nowMiB ?? 0 });
  }
  return rows;
}

export function nameOf(index: number): string {
  return `w${String(index).padStart(7, '0')}`;
}

/** A page's worth of resources shares a label, at any size of the collection. */
function draftOf(index: number, touched = 'no') {
  return { labels: { block: `b${Math.floor(index / pageSize)}`, touched }, spec: {} };
}

async function fill({ client }: Served, from: number, to: number): Promise<void> {
  let next = from;
  const write = async () => {
    for (let index = next++; index < to; index = next++) await client.put(workspace, { tenant, name: nameOf(index) }, draftOf(index));
  };
  await Promise.all(Array.from({ length: writers }, write));
}

/** Until what the writes set in motion is done: the last resources are active, and nothing changes any more. */
async function quiet({ client }: Served, resources: number): Promise<void> {
  for (let index = resources - writers; index < resources; index += 1) {
    while ((await client.get(workspace, { tenant, name: nameOf(index) })).status?.state !== 'active') await rest(50, undefined);
  }
  const feed = await client.events({ tenant });
  let last = performance.now();
  const reading = (async () => {
    for await (const _ of feed) last = performance.now();
  })();
  while (performance.now() - last < 500) await rest(50, undefined);
  feed.close();
  await reading;
  await rest(1_000, undefined);
}

async function measure(served: Served, resources: number) {
  const { client, url, token } = served;
  // A fixed stride that visits everything: no part of the collection is in favour.
  const pick = (round: number) => (round * 7_919 + 13) % resources;
  const at = (round: number) => ({ tenant, name: nameOf(pick(round)) });
  const page = async (query: string) => {
    const path = `/providers/${workspace.provider}/${workspace.version}/tenants/${tenant}/${workspace.collection}`;
    const answer = await fetch(`${url}${path}?limit=${pageSize}${query}`, { headers: { authorization: `Bearer ${token}` } });
    const body = (await answer.json()) as { readonly items?: readonly unknown[]; readonly metadata?: { readonly skipToken?: string } };
    if (body.items?.length !== pageSize) throw new Error(`a page of ${body.items?.length} instead of ${pageSize} (${answer.status})`);
    return body.metadata?.skipToken;
  };
  const middle = await tokenOfTheMiddle(page, resources);
  const get = await timed(rounds.get, async (round) => await client.get(workspace, at(round)));
  const put = await timed(rounds.put, async (round) => await client.put(workspace, at(round), draftOf(pick(round), `p${round}`)));
  const list = await timed(rounds.page, async () => await page(middle));
  const labels = await timed(rounds.page, async (round) => await page(`&labels=block%3Db${Math.floor(pick(round) / pageSize)}`));
  const watch = await writeToWatch(served, resources);
  return { get, put, list, labels, watch };
}

async function tokenOfTheMiddle(page: (query: string) => Promise<string | undefined>, resources: number): Promise<string> {
  let token = '';
  for (let passed = 0; passed + pageSize < resources / 2; passed += pageSize)
    token = `&skipToken=${encodeURIComponent((await page(token)) ?? '')}`;
  return token;
}

/** Before a PUT is sent → its event is read from the feed. */
async function writeToWatch({ client }: Served, resources: number): Promise<Timing> {
  const feed: Feed = await client.events({ tenant, kinds: [workspace.kind] });
  const waiting = new Map<string, () => void>();
  const reading = (async () => {
    for await (const { type, resource } of feed) if (type === 'put') waiting.get(resource?.labels?.['touched'] ?? '')?.();
  })();
  const timing = await timed(rounds.watch, async (round) => {
    const mark = `s${resources}-${round}`;
    const seen = new Promise<void>((resolve) => waiting.set(mark, resolve));
    await client.put(workspace, { tenant, name: nameOf(round) }, draftOf(round, mark));
    await seen;
    waiting.delete(mark);
  });
  feed.close();
  await reading;
  return timing;
}
