import { serviceAccount } from '@virt8ra/contract';
import type { Pool } from 'pg';

/** Whether service accounts are still there, never older than a second. */
export interface Accounts {
  stands(uid: string): Promise<boolean>;
}

const staleMs = 1000;
const mostKept = 10_000;

export function createAccounts(pool: Pick<Pool, 'query'>, now: () => number = () => performance.now()): Accounts {
  const kept = new Map<string, { readonly readAt: number; readonly stands: Promise<boolean> }>();
  const read = async (uid: string): Promise<boolean> => {
    const { rows } = await pool.query({
      name: 'service-account-stands',
      text: `select 1 from resource where uid = $1 and kind = '${serviceAccount.kind}'`,
      values: [uid],
    });
    return rows.length > 0;
  };
  return {
    async stands(uid) {
      const known = kept.get(uid);
      if (known !== undefined && now() - known.readAt < staleMs) return await known.stands;
      const entry = { readAt: now(), stands: read(uid) };
      kept.delete(uid);
      kept.set(uid, entry);
      entry.stands.catch(() => kept.delete(uid));
      for (const oldest of kept.keys()) {
        if (kept.size <= mostKept) break;
        kept.delete(oldest);
      }
      return await entry.stands;
    },
  };
}
