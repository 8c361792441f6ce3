import { type FanOutFigures, measureFanOut } from './fan-out.js';
import { measurePages, type PageFigures } from './instance-pages.js';
import { measureRates, type RateFigures } from './request-rates.js';
import type { Served } from './served.js';

/** What must hold of the API, and what the machine of the figures can do. */
export const northboundLimits = {
  getsPerSecond: 3000,
  putsPerSecond: 800,
  decisionShare: 0.05,
  pageMs: 100,
  labelsMs: 300,
  fanOutMs: 100,
} as const;

export interface NorthboundFigures {
  readonly rates: RateFigures;
  readonly pages: PageFigures;
  readonly fanOut: FanOutFigures;
}

/** Load on the API of a server that holds `resources` workspaces. */
export async function measureNorthbound(served: Served, resources: number, quick: boolean): Promise<NorthboundFigures> {
  const rates = await measureRates(served, resources, quick);
  const fanOut = await measureFanOut(served, quick);
  return { rates, fanOut, pages: await measurePages(served, quick) };
}

export function judgeNorthbound(
  { rates, pages, fanOut }: NorthboundFigures,
  judge: (what: string, holds: boolean) => void,
  say: (text: string) => void,
): void {
  const limits = northboundLimits;
  const { get, put, decision, connections } = rates;
  const percent = (share: number) => `${Math.round(share * 1000) / 10} %`;
  judge(
    `${get.perSecond} GETs a second by ${connections} connections (at least ${limits.getsPerSecond})`,
    get.perSecond >= limits.getsPerSecond,
  );
  judge(`${put.perSecond} changes a second by PUT (at least ${limits.putsPerSecond})`, put.perSecond >= limits.putsPerSecond);
  judge(
    `deciding by one of ${decision.assignments} assignments adds ${percent(decision.getShare)} to a GET and ${percent(decision.listShare)} to a list (at most ${percent(limits.decisionShare)})`,
    Math.max(decision.getShare, decision.listShare) <= limits.decisionShare,
  );
  judge(
    `a page of ${pages.page.items} of ${pages.instances} instances takes ${pages.page.p99Ms} ms, 99th percentile (at most ${limits.pageMs})`,
    pages.page.p99Ms <= limits.pageMs,
  );
  judge(
    `${pages.labels.items} of them by their label, 30 times a second: ${pages.labels.p99Ms} ms, 99th percentile (at most ${limits.labelsMs})`,
    pages.labels.p99Ms <= limits.labelsMs,
  );
  say(`  a page has ${pages.page.KiB} KiB, its median is ${pages.page.medianMs} ms; ${pages.get.perSecond} GETs of instances a second`);
  judge(
    `${fanOut.watchers} watchers hear of a write ${fanOut.p99Ms} ms after its answer, 99th percentile (at most ${limits.fanOutMs})`,
    fanOut.p99Ms <= limits.fanOutMs,
  );
}
