import { type Address, Problem, urnFromAddress } from '@virt8ra/contract';
import { fingerprint } from '../resources/fingerprint.js';
import type { StoreTransaction } from '../resources/store.js';
import type { StoredResource } from '../resources/stored-resource.js';
import type { KindBehaviour, Subject } from './behaviour.js';

export interface Wanted {
  readonly address: Address;
  readonly labels?: Readonly<Record<string, string>>;
  readonly extensions?: Readonly<Record<string, string>>;
  readonly spec: unknown;
}

/**
 * Makes a resource as a PUT of its owner would, by the rules of its kind. For what makes several at once; whether the owner may is decided before. Raises `conflict`
 * when there is one of that name, and what its rules raise.
 */
export async function putAdmitted(
  tx: StoreTransaction,
  behaviour: KindBehaviour,
  { address, labels = {}, extensions = {}, spec }: Wanted,
  { subject, reason }: { readonly subject: Subject; readonly reason: string },
): Promise<StoredResource> {
  const { kind } = behaviour;
  if ((await tx.lockAt(kind, address)) !== undefined)
    throw new Problem('conflict', `there is ${kind.kind} ${address.name} already; delete it first, or give another name`);
  const request = { address, next: { labels, annotations: {}, extensions, spec }, previous: undefined, subject };
  const { references, status, outcome, type, ...why } = (await behaviour.admitPut?.(tx, request)) ?? { outcome: 'creating' as const };
  const told = { ...(type === undefined ? {} : { type }), ...whyOf(why) };
  const before = [{ state: 'pending' as const }];
  const conditions =
    outcome === 'active'
      ? [{ state: 'active' as const, ...told }, { state: 'creating' as const }, ...before]
      : [{ state: 'creating' as const, ...told }, ...before];
  const resource = await tx.put({
    kind,
    address,
    labels,
    extensions,
    spec,
    ...(status === undefined ? {} : { status: status as Readonly<Record<string, unknown>> }),
    ...(references === undefined ? {} : { references }),
    state: outcome,
    conditions,
  });
  await tx.audit({
    subject: subject.name,
    remote: subject.remote,
    verb: 'put',
    resource: urnFromAddress(kind, address),
    code: 201,
    after: fingerprint(resource),
    reason,
  });
  await behaviour.afterPut?.(tx, resource, request, { outcome, ...(references === undefined ? {} : { references }) });
  if (behaviour.reconcile !== undefined) await tx.nudge(kind.kind, resource.uid);
  return resource;
}

function whyOf({ reason, message }: { readonly reason?: string; readonly message?: string }): { reason?: string; message?: string } {
  return { ...(reason === undefined ? {} : { reason }), ...(message === undefined ? {} : { message }) };
}
