import { join } from 'node:path';
import { readText, writeFileAtomic } from '../files/atomic-file.js';
import type { Issuer } from './issuer.js';

const lifetimeSeconds = 365 * 24 * 60 * 60;

export interface AdminToken {
  readonly path: string;
  /** Present when it was made now: to be shown this once. */
  readonly fresh: string | undefined;
}

/** The operator's first token, in `STATE/admin-token` (0600): made at first start, and anew when the file is gone or no longer holds. */
export async function ensureAdminToken(stateDirectory: string, issuer: Issuer): Promise<AdminToken> {
  const path = join(stateDirectory, 'admin-token');
  const existing = (await readText(path))?.trim();
  if (existing !== undefined) {
    const holds = await issuer.verify(existing).then(
      () => true,
      () => false,
    );
    if (holds) return { path, fresh: undefined };
  }
  const fresh = await issuer.issueToken({ name: 'admin', operator: true, tenants: 'all', lifetimeSeconds });
  await writeFileAtomic(path, `${fresh}\n`);
  return { path, fresh };
}
