import { describe, expect, it } from 'vitest';
import { explainSites, rankSites } from './rank-sites.js';

describe('placement of what a site makes as a whole', () => {
  it('prefers sites whose driver has the facet, and says of every other what is in the way', () => {
    const ranked = rankSites(
      [
        { site: 'beta', facets: ['instances'] },
        { site: 'gamma', facets: undefined },
        { site: 'alpha', facets: ['instances', 'clusters'] },
      ],
      { zone: 'any', facet: 'clusters' },
    );

    expect(ranked.map(({ site, fits }) => [site, fits])).toEqual([
      ['alpha', true],
      ['beta', false],
      ['gamma', false],
    ]);
    expect(explainSites(ranked.slice(1))).toBe(
      'beta: its driver has no clusters (add a site of a driver that has); gamma: the site does not answer (bring its account or agents back)',
    );
  });

  it('keeps to the zone that was asked for', () => {
    expect(rankSites([{ site: 'alpha', facets: ['clusters'] }], { zone: 'beta', facet: 'clusters' })).toEqual([
      { site: 'alpha', fits: false, reason: 'the zone asks for beta', mend: 'use zone alpha or any' },
    ]);
    expect(explainSites([])).toBe('there is no site yet');
  });
});
