import { type Reference, type SecurityGroupRuleSpec, type SecurityGroupSpec, securityGroup, securityGroupRule } from '@virt8ra/contract';
import type { ManifestDocument } from './manifest-document.js';

/** Kinds in the order in which they can be made: each needs only those before it. Deletion goes the other way round. */
const order: readonly string[] = [
  'provider',
  'account',
  'site',
  'host',
  'agent-release',
  'role',
  'workspace',
  'service-account',
  'role-assignment',
  'image-import',
  'image',
  'network',
  'internet-gateway',
  'routing-table',
  'subnet',
  'security-group-rule',
  'public-ip',
  'nic',
  'block-storage',
  'instance',
  'instance-import',
  'network-load-balancer',
  'internet-nat-gateway-instance',
  'kubernetes-cluster',
  'kubernetes-node-pool',
  'object-storage-account',
  'migration',
  'backup',
  'backup-schedule',
  'backup-export',
  'snapshot',
  'webhook',
];

/** These two need each other, so that each document's own references decide. */
const mutual: readonly string[] = [securityGroup.kind, securityGroupRule.kind];

/** Groups in order of making; inside a group, none of which needs another, as they were written. A kind unknown here comes last. */
export function groupDocuments(documents: readonly ManifestDocument[]): readonly (readonly ManifestDocument[])[] {
  const groups = new Map<string, ManifestDocument[]>();
  for (const document of documents) {
    const kind = kindOfGroup(document);
    const group = groups.get(kind);
    if (group === undefined) groups.set(kind, [document]);
    else group.push(document);
  }
  return [...groups.entries()]
    .sort(([one], [other]) => rankOf(one) - rankOf(other))
    .flatMap(([kind, group]) => (mutual.includes(kind) ? layersOf(group) : [group]));
}

function kindOfGroup({ kind }: ManifestDocument): string {
  return mutual.includes(kind.kind) ? securityGroupRule.kind : kind.kind;
}

function rankOf(kind: string): number {
  const rank = order.indexOf(kind);
  return rank < 0 ? order.length : rank;
}

/** Each layer needs only those before it. What is in a ring comes last, for the server to say so. */
function layersOf(documents: readonly ManifestDocument[]): readonly (readonly ManifestDocument[])[] {
  const layers: ManifestDocument[][] = [];
  let left = documents;
  while (left.length > 0) {
    const names = new Set(left.map(titleOf));
    const ready = left.filter((document) => !needsOf(document).some((title) => title !== titleOf(document) && names.has(title)));
    layers.push(ready.length === 0 ? [...left] : ready);
    left = ready.length === 0 ? [] : left.filter((document) => !ready.includes(document));
  }
  return layers;
}

function titleOf({ kind, address }: ManifestDocument): string {
  return `${address.workspace ?? ''}/${kind.collection}/${address.name}`;
}

function needsOf({ kind, address, draft }: ManifestDocument): readonly string[] {
  const titled = (reference: Reference): string => {
    const segments = (typeof reference === 'string' ? reference : reference.resource).split('/');
    const at = segments.indexOf('workspaces');
    const workspace = (at < 0 ? undefined : segments[at + 1]) ?? address.workspace ?? '';
    return `${workspace}/${segments.slice(-2).join('/')}`;
  };
  const { rules = [], ruleRefs = [] } = kind.kind === securityGroup.kind ? (draft.spec as SecurityGroupSpec) : {};
  const own = kind.kind === securityGroupRule.kind ? [draft.spec as SecurityGroupRuleSpec] : rules;
  return [...ruleRefs, ...own.flatMap(({ sourceRef = [] }) => sourceRef)].map(titled);
}
