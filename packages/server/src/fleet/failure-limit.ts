/** Slows down guessing: so many failures a minute per address and in all, then nothing is tried any more. */
export interface FailureLimit {
  /** Seconds to wait before another try of this address is looked at; 0: now. */
  waitSeconds(address: string): number;
  fail(address: string): void;
}

const windowMs = 60_000;
const addressesKept = 10_000;

export function createFailureLimit(
  options: { readonly perAddress?: number; readonly inAll?: number; readonly now?: () => number } = {},
): FailureLimit {
  const { perAddress = 10, inAll = 200, now = () => performance.now() } = options;
  const failures = new Map<string, { since: number; count: number }>();
  const everyone = '';
  const waitFor = (name: string, most: number): number => {
    const entry = failures.get(name);
    if (entry === undefined || entry.count < most) return 0;
    return Math.max(0, Math.ceil((entry.since + windowMs - now()) / 1000));
  };
  const count = (name: string): void => {
    const entry = failures.get(name);
    if (entry !== undefined && now() - entry.since < windowMs) {
      entry.count += 1;
      return;
    }
    failures.delete(name);
    // Maps keep the order of insertion: the first is the oldest.
    const oldest = failures.size < addressesKept ? undefined : [...failures.keys()].find((key) => key !== everyone);
    if (oldest !== undefined) failures.delete(oldest);
    failures.set(name, { since: now(), count: 1 });
  };
  return {
    waitSeconds: (address) => Math.max(waitFor(address, perAddress), waitFor(everyone, inAll)),
    fail(address) {
      count(address);
      count(everyone);
    },
  };
}
