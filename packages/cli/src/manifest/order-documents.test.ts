import { type Kind, network, nic, routeTable, securityGroup, securityGroupRule, subnet } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import type { ManifestDocument } from './manifest-document.js';
import { groupDocuments } from './order-documents.js';

function document(kind: Kind, name: string, spec: object = {}): ManifestDocument {
  return { raw: { source: 'x', value: {}, lineOf: () => 1 }, kind, address: { tenant: 't', workspace: 'w', name }, draft: { spec } };
}

const namesOf = (documents: readonly ManifestDocument[]) =>
  groupDocuments(documents).map((group) => group.map(({ address }) => address.name));

describe('the order of documents', () => {
  it('makes routes before subnets and groups before NICs', () => {
    const given = [
      document(nic, 'card'),
      document(subnet, 'part'),
      document(securityGroup, 'group'),
      document(routeTable, 'ways'),
      document(network, 'lan'),
    ];

    expect(namesOf(given)).toEqual([['lan'], ['ways'], ['part'], ['group'], ['card']]);
  });

  it('makes groups and rules as they need each other', () => {
    const given = [
      document(securityGroup, 'servers', {
        ruleRefs: [{ resource: 'security-group-rules/from-clients' }, 'workspaces/w/security-group-rules/out'],
      }),
      document(securityGroupRule, 'from-clients', { direction: 'ingress', sourceRef: ['security-groups/clients', '10.0.0.0/8'] }),
      document(securityGroup, 'clients', { rules: [{ direction: 'egress', sourceRef: ['security-groups/clients'] }] }),
      document(securityGroupRule, 'out', { direction: 'egress' }),
    ];

    expect(namesOf(given)).toEqual([['clients', 'out'], ['from-clients'], ['servers']]);
  });

  it('leaves a ring to the server, which says what is missing', () => {
    const given = [
      document(securityGroup, 'a', { rules: [{ direction: 'ingress', sourceRef: ['security-groups/b'] }] }),
      document(securityGroup, 'b', { rules: [{ direction: 'ingress', sourceRef: ['security-groups/a'] }] }),
    ];

    expect(namesOf(given)).toEqual([['a', 'b']]);
  });
});
