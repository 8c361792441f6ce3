import type { Pool } from 'pg';
import type { Fleet } from '../../fleet/fleet.js';
import type { SampleStore } from '../../samples/sample-store.js';
import type { EarlierMove, MoveMeasures } from '../move-measures.js';

const mostEarlier = 8;

/** Measurements as the fleet, the samples and earlier migrations have them. */
export function createMoveMeasures({
  pool,
  fleet,
  samples,
}: {
  readonly pool: Pool;
  readonly fleet: Pick<Fleet, 'hostStatus' | 'measurePath' | 'mostCarried' | 'pathHistory'>;
  readonly samples: Pick<SampleStore, 'newestOfGuests'>;
}): MoveMeasures {
  return {
    path: async (from, to) => await fleet.pathHistory(from, to),
    measurePath: async (from, to) => await fleet.measurePath(from, to),
    async mostCarried(host) {
      const most = await fleet.mostCarried(host);
      return most === undefined ? undefined : { value: most.bytesPerSecond, source: 'transfer', observedAt: most.at };
    },
    guest: async (host, key) => (await samples.newestOfGuests([{ host, key }]))[0],
    async clockOffsets(hosts) {
      const told = await fleet.hostStatus(hosts);
      return new Map(told.flatMap(({ host, clockOffsetSeconds: offset }) => (offset === undefined ? [] : [[host, offset] as const])));
    },
    async earlier(from, to, mode) {
      const { rows } = await pool.query<EarlierMove>(
        `select status -> 'forecast' as forecast, status -> 'actual' as actual from resource
          where kind = 'migration' and status ->> 'phase' = 'done' and status -> 'from' ->> 'host' = $1 and status -> 'to' ->> 'host' = $2
            and status -> 'forecast' ->> 'mode' = $3 and status -> 'forecast' ? 'durationSeconds' and status -> 'actual' is not null
          order by status ->> 'finishedAt' desc limit $4`,
        [from, to, mode, mostEarlier],
      );
      return rows;
    },
  };
}
