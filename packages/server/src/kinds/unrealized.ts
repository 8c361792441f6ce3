import { Problem, site } from '@virt8ra/contract';
import { facetNames } from '@virt8ra/driver';
import { explainSites, rankSites, type SiteCandidate } from '../placement/rank-sites.js';
import type { StoreTransaction } from '../resources/store.js';
import type { KindContext } from './context.js';

type Sites = Pick<KindContext, 'sites' | 'log'>;

/**
 * Refuses what no site can make: nothing is accepted that would then stand there for ever. Raises `unsupported` with placement's answer,
 * of the zone or of every site; it is the refusal of a kind whose facet no driver has yet.
 */
export async function refuseUnrealized(
  context: Sites,
  tx: StoreTransaction,
  wanted: { readonly what: string; readonly facet: string; readonly zone?: string; readonly instead: string; readonly pointer?: string },
): Promise<never> {
  const { what, facet, zone = 'any', instead, pointer = '/spec' } = wanted;
  const verdicts = rankSites(await siteCandidates(context, tx, zone), { zone, facet });
  throw new Problem('unsupported', `${what} cannot be made: ${explainSites(verdicts)}. ${instead}`, {
    sources: [{ pointer }],
    facts: { placement: verdicts.slice(0, 32) },
  });
}

/** Raises `validation` for a zone that is no site. */
async function siteCandidates({ sites, log }: Sites, tx: StoreTransaction, zone: string): Promise<readonly SiteCandidate[]> {
  if (zone !== 'any' && (await tx.get(site, { name: zone })) === undefined)
    throw new Problem('validation', `there is no site ${zone}; virt8ra sites lists them, any lets placement choose`, {
      sources: [{ pointer: '/spec/zone' }],
    });
  const found = zone === 'any' ? (await tx.list(site, {}, { selector: [], limit: 200, after: undefined })).items : undefined;
  const names = found?.filter(({ deletedAt }) => deletedAt === undefined).map(({ address }) => address.name) ?? [zone];
  return await Promise.all(
    names.map(async (name) => {
      try {
        const connection = await sites.connectionOf(name);
        return { site: name, facets: facetNames.filter((facet) => connection[facet] !== undefined) };
      } catch (error) {
        log.warn('a site cannot be asked for what it offers', { site: name, error });
        return { site: name, facets: undefined };
      }
    }),
  );
}
