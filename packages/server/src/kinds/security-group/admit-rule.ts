import {
  type Address,
  addressFromReference,
  Problem,
  type Reference,
  type SecurityGroupRuleSpec,
  securityGroup,
  subnet,
} from '@virt8ra/contract';
import type { StoreTransaction } from '../../resources/store.js';
import type { ResolvedReference, StoredResource } from '../../resources/stored-resource.js';
import { rangeFromText } from '../network/index.js';

/** What can be at the other end of a rule, beside plain addresses. */
const peerKinds = [securityGroup, subnet] as const;

/**
 * Rules of one rule that need more than its shape. Answers the references that its `sourceRef` makes; `self` is the group whose own rule it is,
 * which may name itself before it is there. Raises `validation` with the pointer, `unsupported` for what no filter can express.
 */
export async function admitRule(
  tx: StoreTransaction,
  spec: SecurityGroupRuleSpec,
  from: Omit<Address, 'name'>,
  pointer: string,
  self?: Pick<StoredResource, 'address'>,
): Promise<readonly ResolvedReference[]> {
  assertPorts(spec, pointer);
  assertIcmp(spec, pointer);
  const references: ResolvedReference[] = [];
  for (const [index, given] of (spec.sourceRef ?? []).entries()) {
    const at = `${pointer}/sourceRef/${index}`;
    const range = rangeFromText(textOf(given), at);
    if (range !== undefined) {
      if (spec.version !== undefined && spec.version !== `IPv${range.family}`)
        throw new Problem('validation', `${textOf(given)} is no ${spec.version} address, which is all that the rule is about`, {
          sources: [{ pointer: at }],
        });
      continue;
    }
    const kind = peerKinds.find(({ collection }) => textOf(given).split('/').at(-2) === collection);
    if (kind === undefined) {
      throw new Problem(
        'validation',
        `${JSON.stringify(textOf(given))} cannot be at the other end of a rule; write an address, a range, security-groups/NAME or networks/NETWORK/subnets/NAME`,
        { sources: [{ pointer: at }] },
      );
    }
    if (self !== undefined && kind === securityGroup && isSame(addressFromReference(kind, given, from, at), self.address)) continue;
    const { target, reference } = await tx.resolve(kind, given, from, at);
    if (target.address.workspace !== from.workspace)
      throw new Problem('validation', `${kind.kind} ${target.address.name} is of another workspace`, { sources: [{ pointer: at }] });
    references.push(reference);
  }
  return references;
}

export function textOf(reference: Reference): string {
  return typeof reference === 'string' ? reference : reference.resource;
}

function isSame(one: Address, other: Address): boolean {
  return one.tenant === other.tenant && one.workspace === other.workspace && one.name === other.name;
}

function assertPorts({ ports, protocol }: SecurityGroupRuleSpec, pointer: string): void {
  if (ports === undefined) return;
  const refuse = (why: string): never => {
    throw new Problem('validation', why, { sources: [{ pointer: `${pointer}/ports` }] });
  };
  const { from, to, list = [] } = ports;
  if ((from === undefined) !== (to === undefined)) refuse('a range of ports needs from and to; one port is written in list');
  if (from === undefined && list.length === 0) refuse('ports names no port from 1 to 65535; leave it out to allow all of them');
  if (from !== undefined && to !== undefined && from > to) refuse(`ports from ${from} to ${to} are none`);
  if (protocol === undefined || protocol === 'icmp') refuse('ports are those of tcp, udp or tcp+udp; name one of them as protocol');
}

function assertIcmp({ icmp, protocol, version }: SecurityGroupRuleSpec, pointer: string): void {
  if (icmp === undefined) return;
  const sources = [{ pointer: `${pointer}/icmp` }];
  if (protocol !== 'icmp') throw new Problem('validation', 'types of ICMP need protocol icmp', { sources });
  if (version === 'IPv6')
    throw new Problem('unsupported', 'SECA numbers the types of ICMP for IPv4 only; leave icmp out to allow all of ICMPv6', { sources });
}
