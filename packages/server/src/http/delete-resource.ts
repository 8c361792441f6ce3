import { type Address, urnFromAddress } from '@virt8ra/contract';
import type { KindBehaviour, Subject } from '../kinds/behaviour.js';
import { fingerprint } from '../resources/fingerprint.js';
import type { Store } from '../resources/store.js';
import { absentResource } from './absent-resource.js';
import { assertVersion } from './precondition.js';

export interface DeleteCall {
  readonly address: Address;
  readonly version: number | undefined;
  readonly subject: Subject;
}

/** Begins the deletion; repeatable while it lasts. A kind without reconcile is a record only and goes at once. */
export async function deleteResource(store: Store, behaviour: KindBehaviour, { address, version, subject }: DeleteCall): Promise<void> {
  const { kind } = behaviour;
  await store.transaction(async (tx) => {
    const resource = await tx.lockAt(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    assertVersion(version, resource);
    if (resource.deletedAt === undefined) {
      await behaviour.admitDelete?.(tx, resource, subject);
      await tx.markDeleted(resource.uid);
      await tx.audit({
        subject: subject.name,
        remote: subject.remote,
        verb: 'delete',
        resource: urnFromAddress(kind, address),
        code: 202,
        before: fingerprint(resource),
      });
    }
    const atOnce = (await behaviour.goesAtOnce?.(tx, resource)) ?? behaviour.reconcile === undefined;
    if (atOnce) await tx.remove(resource.uid);
    else await tx.nudge(kind.kind, resource.uid);
  });
}
