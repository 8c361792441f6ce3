/** Kubernetes clusters and node pools: described, and refused until a driver makes them. */
import { type KubernetesClusterSpec, type KubernetesNodePoolSpec, kubernetesCluster, kubernetesNodePool, Problem } from '@virt8ra/contract';
import type { KindBehaviour } from '../behaviour.js';
import type { KindContext } from '../context.js';
import { type IpRange, overlap, rangeFromText } from '../network/index.js';
import { refuseUnrealized } from '../unrealized.js';

const facet = 'clusters';
const instead = 'Make instances, and Kubernetes on them';

export function createKubernetesBehaviours(
  context: Pick<KindContext, 'sites' | 'log'>,
): readonly [KindBehaviour<KubernetesClusterSpec, object>, KindBehaviour<KubernetesNodePoolSpec, object>] {
  return [
    {
      kind: kubernetesCluster,
      async admitPut(tx, { next }) {
        assertRanges(next.spec);
        return await refuseUnrealized(context, tx, { what: 'a Kubernetes cluster', facet, instead });
      },
    },
    {
      kind: kubernetesNodePool,
      // Its cluster has been looked for already, so that this is for the day when there are clusters without node pools.
      async admitPut(tx, { next }) {
        const { zone } = next.spec.nodeTemplate;
        return await refuseUnrealized(context, tx, { what: 'a node pool', facet, zone, instead, pointer: '/spec/nodeTemplate' });
      },
    },
  ];
}

function assertRanges({ podCidr, serviceCidr, restrictKubernetesApi = [] }: KubernetesClusterSpec): void {
  const ranges = Object.entries({ podCidr, serviceCidr }).flatMap(([field, text]) =>
    text === undefined || text === '' ? [] : [rangeOf(text, `/spec/${field}`)],
  );
  const [pods, services] = ranges;
  if (pods !== undefined && services !== undefined && overlap(pods, services))
    throw new Problem('validation', 'podCidr and serviceCidr overlap', { sources: [{ pointer: '/spec/serviceCidr' }] });
  for (const [index, text] of restrictKubernetesApi.entries()) rangeOf(text, `/spec/restrictKubernetesApi/${index}`);
}

function rangeOf(text: string, pointer: string): IpRange {
  const range = rangeFromText(text, pointer);
  if (range !== undefined) return range;
  throw new Problem('validation', `${JSON.stringify(text)} is no range of addresses; write it as 10.0.0.0/16 or fd00::/48`, {
    sources: [{ pointer }],
  });
}
