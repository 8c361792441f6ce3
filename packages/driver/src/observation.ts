import type { Problem } from '@virt8ra/contract';

/** The driver's own memory of an object: opaque to everyone else, JSON, versioned by the driver. */
export interface Handle {
  readonly driver: string;
  readonly version: number;
  readonly value: string;
}

/**
 * What was seen. `absent` is a positive not-found from the right place; a timeout, 401 or 403 is `unknown`, never absent.
 * `at` is when it was seen (RFC 3339), not when it was asked.
 */
export type Observation<Status> =
  | { readonly type: 'absent'; readonly at: string; readonly source: string }
  | {
      readonly type: 'unknown';
      readonly reason: string;
      readonly lastSeen?: { readonly at: string; readonly status: Status };
      readonly source: string;
    }
  | { readonly type: 'changing'; readonly at: string; readonly source: string; readonly status: Status; readonly retryAfterSeconds: number }
  | { readonly type: 'present'; readonly at: string; readonly source: string; readonly status: Status }
  | { readonly type: 'broken'; readonly at: string; readonly source: string; readonly status: Status; readonly problem: Problem };

/**
 * One kind of thing a provider can do. No call waits for the provider's work to finish; every call may be repeated.
 * `key` is equal on every retry and becomes part of the provider's object (name or tag).
 */
export interface Facet<Spec, Status> {
  /** Must be safe after a lost reply: the same key never makes two objects. */
  create(spec: Spec, key: string): Promise<Handle>;
  /** The answer to a lost reply. Undefined means positively not there. Raises `unavailable` when it cannot tell. */
  find(key: string): Promise<Handle | undefined>;
  observe(handle: Handle): Promise<Observation<Status>>;
  /** Brings the object to `spec`. Raises `unsupported` only for a difference really seen. */
  update(handle: Handle, spec: Spec): Promise<void>;
  /** Silent when already gone; `observe` tells when it really is. */
  remove(handle: Handle): Promise<void>;
  /** Everything there that carries our mark: orphans, adoption after a restore. */
  list(): AsyncIterable<{ readonly handle: Handle; readonly key: string }>;
}
