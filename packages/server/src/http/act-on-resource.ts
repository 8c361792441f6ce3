import { type Kind, Problem, urnFromAddress } from '@virt8ra/contract';
import type { KindBehaviour } from '../kinds/behaviour.js';
import { fingerprint } from '../resources/fingerprint.js';
import type { Store } from '../resources/store.js';
import { endWithholding } from '../standstill/withheld.js';
import { absentResource } from './absent-resource.js';
import type { DeleteCall } from './delete-resource.js';
import { assertVersion } from './precondition.js';

export interface Action {
  readonly name: string;
  readonly perform: NonNullable<KindBehaviour['actions']>[string];
  /** Checked. */
  readonly body: unknown;
}

/** Performs an action in one transaction with its audit row; what it answers, if anything, becomes the body. */
export async function actOnResource(store: Store, kind: Kind, action: Action, { address, version, subject }: DeleteCall): Promise<unknown> {
  return await store.transaction(async (tx) => {
    const resource = await tx.lockAt(kind, address);
    if (resource === undefined) throw absentResource(kind, address.name);
    assertVersion(version, resource);
    if (resource.deletedAt !== undefined) throw new Problem('conflict', `${kind.kind} ${address.name} is being deleted`);
    const answer = await action.perform(tx, resource, subject, action.body);
    await endWithholding(tx.client, resource.uid);
    await tx.audit({
      subject: subject.name,
      remote: subject.remote,
      verb: `post.${action.name}`,
      resource: urnFromAddress(kind, address),
      code: answer === undefined ? 202 : 200,
      before: fingerprint(resource),
      after: fingerprint((await tx.lock(resource.uid)) ?? resource),
    });
    return answer;
  });
}
