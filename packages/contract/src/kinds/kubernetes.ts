import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { oneOf, Reference, statusShape, Zone } from '../shape.js';

const closed = { additionalProperties: false } as const;

/** SECA Kubernetes cluster (v1beta1): its control plane; nodes come by node pools. SECA names no kind for it, so that the word is ours. */
export const kubernetesCluster = defineKind({
  kind: 'kubernetes-cluster',
  provider: 'seca.kubernetes',
  version: 'v1beta1',
  collection: 'clusters',
  scope: 'workspace',
  aliases: ['cluster', 'kubernetes-clusters'],
  immutable: ['/skuRef'],
  summary: 'a Kubernetes cluster',
  spec: Type.Object(
    {
      skuRef: Reference,
      podCidr: Type.Optional(Type.String({ maxLength: 43 })),
      serviceCidr: Type.Optional(Type.String({ maxLength: 43 })),
      /** Addresses and ranges that reach its API; absent: all. */
      restrictKubernetesApi: Type.Optional(Type.Array(Type.String({ maxLength: 45 }), { maxItems: 100 })),
    },
    closed,
  ),
  status: statusShape({ kubeConfig: Type.Optional(Type.String({ maxLength: 65536 })) }),
});
export type KubernetesClusterSpec = Static<typeof kubernetesCluster.spec>;

/** SECA node pool of a Kubernetes cluster (v1beta1): nodes of one template. */
export const kubernetesNodePool = defineKind({
  kind: 'kubernetes-node-pool',
  provider: 'seca.kubernetes',
  version: 'v1beta1',
  collection: 'node-pools',
  scope: 'cluster',
  aliases: ['node-pool', 'kubernetes-node-pools'],
  immutable: ['/nodeTemplate/skuRef', '/nodeTemplate/zone', '/nodeTemplate/rootVolume/skuRef'],
  summary: 'nodes of a Kubernetes cluster, all of one template',
  spec: Type.Object(
    {
      instances: Type.Integer({ minimum: 1, maximum: 5000 }),
      nodeTemplate: Type.Object(
        {
          skuRef: Reference,
          zone: Zone,
          subnetRef: Reference,
          securityGroupRef: Type.Optional(Reference),
          rootVolume: Type.Object({ sizeGB: Type.Integer({ minimum: 20 }), skuRef: Reference }, closed),
        },
        closed,
      ),
      taints: Type.Optional(
        Type.Array(
          Type.Object(
            {
              key: Type.String({ minLength: 1, maxLength: 63 }),
              value: Type.String({ minLength: 1, maxLength: 63 }),
              effect: oneOf(['NoSchedule', 'PreferNoSchedule', 'NoExecute']),
            },
            closed,
          ),
          { maxItems: 50 },
        ),
      ),
    },
    closed,
  ),
  status: statusShape({ nodes: Type.Optional(Type.Array(Reference, { maxItems: 1000 })) }),
});
export type KubernetesNodePoolSpec = Static<typeof kubernetesNodePool.spec>;
