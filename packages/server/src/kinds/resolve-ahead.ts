import { type Address, addressFromReference, type Kind, Problem, type Reference, urnFromAddress } from '@virt8ra/contract';
import type { StoreTransaction } from '../resources/store.js';
import type { AwaitedReference } from './behaviour.js';

/** Resolves a reference; with `ahead`, what is not there is awaited instead of refused. Raises `validation` with the pointer. */
export async function resolveAhead<Spec = unknown, Status = unknown>(
  tx: StoreTransaction,
  reference: { readonly kind: Kind; readonly given: Reference; readonly from: Omit<Address, 'name'>; readonly pointer: string },
  ahead: boolean,
): Promise<Awaited<ReturnType<typeof tx.resolve<Spec, Status>>> | { readonly awaited: AwaitedReference }> {
  const { kind, given, from, pointer } = reference;
  const urn = urnFromAddress(kind, addressFromReference(kind, given, from, pointer));
  try {
    return await tx.resolve<Spec, Status>(kind, given, from, pointer);
  } catch (thrown) {
    if (!ahead || !(thrown instanceof Problem) || thrown.kind !== 'validation') throw thrown;
    return { awaited: { pointer, urn } };
  }
}
