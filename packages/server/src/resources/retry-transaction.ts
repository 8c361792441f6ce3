/** Raised inside a transaction that must begin again: what it saw is no longer so, or its place on the feed is taken. Never leaves the store. */
export class RetryTransaction extends Error {
  override readonly name = 'RetryTransaction';
}
