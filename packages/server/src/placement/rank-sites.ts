/** Placement of what a site makes as a whole, such as a cluster: which sites can. Pure, like that of instances. */

export interface SiteCandidate {
  readonly site: string;
  /** What its driver offers there; undefined: it cannot be asked now. */
  readonly facets: readonly string[] | undefined;
}

export interface SiteRequirement {
  /** A site, or `any`. */
  readonly zone: string;
  /** The facet that makes it. */
  readonly facet: string;
}

export interface SiteVerdict {
  readonly site: string;
  readonly fits: boolean;
  /** The rule that decided. */
  readonly reason: string;
  /** For a refusal: what would make it fit. */
  readonly mend?: string;
}

/** Fitting ones first, then by name, so that equal inputs give equal answers. */
export function rankSites(candidates: readonly SiteCandidate[], { zone, facet }: SiteRequirement): readonly SiteVerdict[] {
  return candidates
    .map(({ site, facets }): SiteVerdict => {
      if (zone !== 'any' && zone !== site)
        return { site, fits: false, reason: `the zone asks for ${zone}`, mend: `use zone ${site} or any` };
      if (facets === undefined) return { site, fits: false, reason: 'the site does not answer', mend: 'bring its account or agents back' };
      if (facets.includes(facet)) return { site, fits: true, reason: `its driver has ${facet}` };
      return { site, fits: false, reason: `its driver has no ${facet}`, mend: 'add a site of a driver that has' };
    })
    .sort((a, b) => Number(b.fits) - Number(a.fits) || (a.site < b.site ? -1 : 1));
}

/** One sentence when nothing fits. */
export function explainSites(verdicts: readonly SiteVerdict[]): string {
  if (verdicts.length === 0) return 'there is no site yet';
  return verdicts
    .slice(0, 8)
    .map(({ site, reason, mend }) => `${site}: ${reason}${mend === undefined ? '' : ` (${mend})`}`)
    .join('; ');
}
