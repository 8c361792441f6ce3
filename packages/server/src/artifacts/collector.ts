import { toProblem } from '@virt8ra/contract';
import { backupContentKey } from '@virt8ra/driver';
import type { Log, Queryable } from '@virt8ra/engine';
import type { ArtifactStore } from './artifact-store.js';

const everyMs = 15 * 60_000;

/**
 * Removes images and half arrived content that nothing refers to, every quarter of an hour until the returned function is called.
 * `used` is asked for the digests and import keys still needed.
 */
export function startCollector(options: {
  readonly artifacts: Pick<ArtifactStore, 'collect'>;
  readonly used: () => Promise<{ readonly digests: ReadonlySet<string>; readonly keys: ReadonlySet<string> }>;
  readonly log: Log;
}): () => void {
  const { artifacts, used, log } = options;
  const timer = setInterval(() => {
    used()
      .then(async (needed) => await artifacts.collect(needed))
      .catch((error: unknown) => log.warn('unused images could not be removed', { error: toProblem(error).message }));
  }, everyMs);
  timer.unref();
  return () => clearInterval(timer);
}

/** Images, backups and releases of the agent by their digests, imports and backups under way, and what the volumes of hosts are made from or still to be made from. */
export async function usedArtifacts(on: Queryable): Promise<{ readonly digests: ReadonlySet<string>; readonly keys: ReadonlySet<string> }> {
  const images = await on.query<{ sha256: string }>(
    `select distinct status ->> 'sha256' as sha256 from resource where kind = 'image' and status ? 'sha256'`,
  );
  const imports = await on.query<{ uid: string; sha256: string | null }>(
    `select uid, coalesce(spec #>> '{source,sha256}', spec #>> '{source,upload,sha256}') as sha256 from resource where kind = 'image-import'`,
  );
  const volumes = await on.query<{ sha256: string }>(
    `select distinct object -> 'source' ->> 'sha256' as sha256 from fleet.desired where type = 'volume' and object -> 'source' ? 'sha256'`,
  );
  const backups = await on.query<{ sha256: string | null }>(
    `select distinct volume ->> 'sha256' as sha256 from resource, jsonb_array_elements(status -> 'volumes') as volume
      where kind = 'backup' and jsonb_typeof(status -> 'volumes') = 'array'`,
  );
  const restores = await on.query<{ sha256: string | null }>(
    `select distinct status #>> '{restoredFrom,sha256}' as sha256 from resource
      where kind = 'block-storage' and status ? 'restoredFrom'
        and not exists (select 1 from realization where realization.resource_uid = resource.uid)`,
  );
  const exported = await on.query<{ sha256: string | null }>(
    `select distinct file ->> 'sha256' as sha256 from resource, jsonb_array_elements(status -> 'files') as file
      where kind = 'backup-export' and jsonb_typeof(status -> 'files') = 'array'
     union select distinct disk ->> 'sha256' from resource, jsonb_array_elements(status #> '{plan,disks}') as disk
      where kind = 'instance-import' and jsonb_typeof(status #> '{plan,disks}') = 'array' and status ->> 'phase' = 'converting'`,
  );
  const releases = await on.query<{ sha256: string }>(
    `select spec #>> '{upload,sha256}' as sha256 from resource where kind = 'agent-release'
     union select agent_release ->> 'sha256' from fleet.host where agent_release is not null`,
  );
  const incoming = await on.query<{ uid: string }>(
    `select uid from resource where kind in ('agent-release', 'instance-import', 'backup-export')`,
  );
  const arriving = await on.query<{ key: string; volumes: number }>(
    `select key, jsonb_array_length(facts #> '{plan,volumes}') as volumes from realization where facet = 'backups' and facts ? 'plan'`,
  );
  const contents = arriving.rows.flatMap(({ key, volumes: count }) =>
    Array.from({ length: count }, (_, position) => backupContentKey(key, position)),
  );
  const digests = [
    ...images.rows,
    ...imports.rows,
    ...volumes.rows,
    ...backups.rows,
    ...restores.rows,
    ...exported.rows,
    ...releases.rows,
  ].flatMap(({ sha256 }) => (sha256 === null ? [] : [sha256]));
  return { digests: new Set(digests), keys: new Set([...[...imports.rows, ...incoming.rows].map(({ uid }) => uid), ...contents]) };
}
