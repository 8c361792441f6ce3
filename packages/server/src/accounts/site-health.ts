import { toProblem } from '@virt8ra/contract';
import type { Log } from '@virt8ra/engine';
import type { SiteConnections } from './site-connections.js';

/** What a look at a site said of the access to it. */
export interface SiteHealth {
  readonly healthy: boolean;
  readonly reason?: string;
  /** When it was seen (RFC 3339). */
  readonly observedAt: string;
}

export interface SiteHealths {
  /** The newest look at each of these sites; one that was never seen in time is left out. Never waits long. */
  of(sites: readonly string[]): Promise<ReadonlyMap<string, SiteHealth>>;
}

/**
 * Looks at sites through their drivers when somebody asks, and remembers it for a moment, however many ask. A site that is slow to answer
 * holds nobody up: what was seen before, with its age, is answered until it does.
 */
export function createSiteHealths(options: {
  readonly sites: Pick<SiteConnections, 'connectionOf'>;
  readonly now: () => Date;
  readonly log: Log;
  /** For how long a look is good. Default 10,000. */
  readonly freshMs?: number;
  /** How long a look may take before an older one is answered. Default 1000. */
  readonly patienceMs?: number;
}): SiteHealths {
  const { sites, now, log, freshMs = 10_000, patienceMs = 1000 } = options;
  const seen = new Map<string, SiteHealth>();
  const looking = new Map<string, Promise<void>>();

  async function look(site: string): Promise<void> {
    let found: Omit<SiteHealth, 'observedAt'>;
    try {
      const { healthy, reason } = await (await sites.connectionOf(site)).probe();
      found = reason === undefined ? { healthy } : { healthy, reason };
    } catch (thrown) {
      const { message } = toProblem(thrown);
      log.debug('a site could not be probed', { site, problem: message });
      found = { healthy: false, reason: message };
    }
    seen.set(site, { ...found, observedAt: now().toISOString() });
  }

  async function current(site: string): Promise<SiteHealth | undefined> {
    const last = seen.get(site);
    if (last !== undefined && now().getTime() - Date.parse(last.observedAt) < freshMs) return last;
    const begun = looking.get(site) ?? look(site).finally(() => looking.delete(site));
    looking.set(site, begun);
    await withinPatience(begun, patienceMs);
    return seen.get(site);
  }

  return {
    async of(names) {
      const found = await Promise.all(names.map(async (site) => [site, await current(site)] as const));
      return new Map(found.flatMap(([site, health]) => (health === undefined ? [] : [[site, health] as const])));
    },
  };
}

async function withinPatience(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, patience]);
  clearTimeout(timer);
}
