import { type Static, Type } from 'typebox';
import { defineKind } from '../kind.js';
import { Annotations, oneOf, Reference, statusShape } from '../shape.js';
import { ipVersions } from './public-ip.js';

const Port = Type.Integer({ minimum: 1, maximum: 65535 });
const closed = { additionalProperties: false } as const;

/**
 * What one rule allows. Where a part is absent, everything of it is allowed. `sourceRef` names who is at the other end, for egress too: security
 * groups, subnets, or addresses and ranges as plain text. Replies to what a rule allows pass by themselves.
 */
const RuleSpec = Type.Object(
  {
    annotations: Type.Optional(Annotations),
    direction: oneOf(['ingress', 'egress']),
    icmp: Type.Optional(
      Type.Object({ code: Type.Integer({ minimum: 0, maximum: 5 }), type: Type.Integer({ minimum: 0, maximum: 8 }) }, closed),
    ),
    /** `from` to `to`, both inclusive, and those of `list`. */
    ports: Type.Optional(
      Type.Object({ from: Type.Optional(Port), list: Type.Optional(Type.Array(Port, { maxItems: 100 })), to: Type.Optional(Port) }, closed),
    ),
    protocol: Type.Optional(oneOf(['tcp', 'udp', 'tcp+udp', 'icmp'])),
    sourceRef: Type.Optional(Type.Array(Reference, { maxItems: 32 })),
    version: Type.Optional(oneOf(ipVersions)),
  },
  closed,
);

/** SECA security group rule, for several groups to share. */
export const securityGroupRule = defineKind({
  kind: 'security-group-rule',
  provider: 'seca.network',
  version: 'v1',
  collection: 'security-group-rules',
  scope: 'workspace',
  aliases: ['sgr', 'rule', 'rules'],
  summary: 'one thing that the security groups which name it allow',
  spec: RuleSpec,
  status: statusShape({}),
});
export type SecurityGroupRuleSpec = Static<typeof securityGroupRule.spec>;

/**
 * SECA security group: what may reach the NICs that name it and what they may reach. A NIC of several groups has what any of them allows; a NIC
 * of at least one has nothing else. It is made on a host when the first of its NICs arrives there.
 */
export const securityGroup = defineKind({
  kind: 'security-group',
  provider: 'seca.network',
  version: 'v1',
  collection: 'security-groups',
  scope: 'workspace',
  aliases: ['sg', 'sgs'],
  summary: 'what may reach instances and what they may reach',
  spec: Type.Object(
    {
      ruleRefs: Type.Optional(Type.Array(Reference, { maxItems: 500 })),
      rules: Type.Optional(Type.Array(RuleSpec, { maxItems: 500 })),
    },
    closed,
  ),
  /** `rules`: those of `spec.rules`, then those of `spec.ruleRefs`, in their order; together at most 500. */
  status: statusShape({ rules: Type.Optional(Type.Array(statusShape({}), { maxItems: 500 })) }),
});
export type SecurityGroupSpec = Static<typeof securityGroup.spec>;
