import type { Id } from '@virt8ra/contract';

/** Raised inside a transaction that must begin again: what it saw is no longer so, or its place on the feed is taken. Never leaves the store. */
export class RetryTransaction extends Error {
  override readonly name = 'RetryTransaction';
  /** Resource that a younger transaction changed first. The next attempt locks it before anything else, and is then the youngest there. */
  readonly contended: Id<'resource'> | undefined;

  constructor(message: string, contended?: Id<'resource'>) {
    super(message);
    this.contended = contended;
  }
}
