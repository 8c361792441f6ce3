import { createHash } from 'node:crypto';
import { Problem } from '@virt8ra/contract';
import type { Identity } from './identity.js';

/** Tokens that were verified, by their digest: a signature is checked once. */
export interface TokenCache {
  /** Raises `unauthorized` for one that has run out since. */
  find(token: string): Identity | undefined;
  keep(token: string, identity: Identity, times: { readonly expiresAtMs: number; readonly forgetAtMs?: number }): void;
}

interface Kept {
  readonly identity: Identity;
  readonly expiresAtMs: number;
  readonly forgetAtMs: number;
}

export function createTokenCache(now: () => number, size = 10_000): TokenCache {
  // In order of last use: the first is the one to drop.
  const kept = new Map<string, Kept>();
  return {
    find(token) {
      const digest = digestOf(token);
      const entry = kept.get(digest);
      if (entry === undefined) return undefined;
      kept.delete(digest);
      if (entry.expiresAtMs <= now()) throw new Problem('unauthorized', 'the token has run out; ask for a new one');
      if (entry.forgetAtMs <= now()) return undefined;
      kept.set(digest, entry);
      return entry.identity;
    },
    keep(token, identity, { expiresAtMs, forgetAtMs = expiresAtMs }) {
      kept.set(digestOf(token), { identity, expiresAtMs, forgetAtMs });
      for (const oldest of kept.keys()) {
        if (kept.size <= size) break;
        kept.delete(oldest);
      }
    },
  };
}

function digestOf(token: string): string {
  return createHash('sha256').update(token).digest('base64');
}
