import { type InstanceSpec, type MigrationSpec, type MoveFinding, type MoveForecast, site as siteKind } from '@virt8ra/contract';
import type { StoredResource } from '../../resources/stored-resource.js';
import type { KindContext } from '../context.js';
import type { InstanceStatus } from '../instance/index.js';
import type { Measured } from '../move-measures.js';
import { forecastMove } from './forecast.js';
import type { DiskFacts, ForecastQuestion } from './forecast-question.js';
import { hostsAt } from './live-outlook.js';
import type { Place } from './plan.js';
import { type PreflightFacts, preflight } from './preflight.js';
import { publicIpsLostBy } from './public-ips.js';
import type { SurveyedMove } from './survey.js';

/** A move that is decided on, or would be. */
export interface DecidedMove {
  readonly instance: StoredResource<InstanceSpec, InstanceStatus>;
  readonly minPasses: number;
  readonly surveyed: SurveyedMove;
  readonly mode: MigrationSpec['mode'];
  readonly to: Place;
}

export interface Outlook {
  readonly forecast?: MoveForecast;
  readonly findings?: MoveFinding[];
}

/** Forecast and findings of a move, for whoever is about to begin it. What cannot be looked up is left out: it stops no move. */
export async function outlookOn(context: KindContext, move: DecidedMove): Promise<Outlook> {
  try {
    const forecast = forecastMove(await questionOn(context, move));
    return { forecast, findings: [...preflight(await preflightFactsOf(context, move, forecast))] };
  } catch (error) {
    context.log.warn('a move begins without a forecast', { instance: move.instance.address.name, error });
    return {};
  }
}

/** Collects what was measured of a move. */
export async function questionOn(context: KindContext, { minPasses, surveyed, mode, to }: DecidedMove): Promise<ForecastQuestion> {
  const { from, survey } = surveyed;
  const { measures } = context;
  const source = `agent/${from.host}`;
  const isRunning = survey.activity === 'running' || survey.activity === 'paused';
  const sample = await measures?.guest(from.host, survey.instance.key);
  const path = (await measures?.path(from.host, to.host)) ?? [];
  const trip = path.find(({ rttMs }) => rttMs !== undefined);
  const moverPerSecond = await measures?.mostCarried(from.host);
  const price = (await context.store.get<{ readonly egressPrice?: ForecastQuestion['egressPrice'] }>(siteKind, { name: from.site }))?.spec
    .egressPrice;
  const disks = survey.volumes.map(({ key, sizeBytes, allocatedBytes, source: seenBy, seenAt }, index): DiskFacts => {
    const written = sample?.disks?.find((disk) => disk.key === key)?.writePerSecond;
    const looked = sample?.changes;
    const distinct =
      looked?.disks.find((disk) => disk.key === key)?.looks ?? (looked === undefined ? undefined : [{ seconds: 60, bytes: 0 }]);
    const observedAt = looked?.at ?? sample?.at;
    const isKnown = observedAt !== undefined && (written !== undefined || distinct !== undefined);
    return {
      name: survey.parts.volumes[index]?.address.name ?? key,
      sizeBytes,
      ...(allocatedBytes === undefined || seenAt === undefined
        ? {}
        : { allocatedBytes: { value: allocatedBytes, source: seenBy, observedAt: seenAt } }),
      ...(isKnown
        ? {
            changes: {
              source,
              observedAt,
              ...(written === undefined ? {} : { writtenPerSecond: written }),
              ...(distinct === undefined ? {} : { distinct }),
            },
          }
        : {}),
    };
  });
  const measured = (value: number | undefined): Measured | undefined =>
    value === undefined || sample === undefined ? undefined : { value, source, observedAt: sample.at };
  const memoryBytes = survey.parts.size.memoryMiB * 1024 ** 2;
  const resident = measured(sample?.memoryBytes);
  const dirtyPerSecond = measured(sample?.memoryChangedPerSecond);
  return {
    at: context.now(),
    mode,
    minPasses,
    isRunning,
    from,
    to,
    disks,
    path,
    ...(mode === 'live'
      ? {
          memory: {
            bytes: Math.min(memoryBytes, resident?.value ?? memoryBytes),
            isEmulated: survey.status.accelerator === 'tcg',
            ...(resident === undefined ? {} : { bytesFrom: resident }),
            ...(dirtyPerSecond === undefined ? {} : { dirtyPerSecond }),
          },
        }
      : {}),
    ...(trip?.rttMs === undefined ? {} : { rttMs: { value: trip.rttMs, source: trip.source, observedAt: trip.at } }),
    ...(moverPerSecond === undefined ? {} : { moverPerSecond }),
    ...(price === undefined ? {} : { egressPrice: price }),
    earlier: (await measures?.earlier(from.host, to.host, mode)) ?? [],
  };
}

/** What preflight judges, read at both ends. */
export async function preflightFactsOf(
  context: KindContext,
  move: DecidedMove,
  forecast: MoveForecast | undefined,
): Promise<PreflightFacts> {
  const { instance, surveyed, mode, to } = move;
  const { from, survey, target } = surveyed;
  const hosts = await hostsAt(context, [from.site, to.site]);
  const at = (name: string) => hosts.find(({ host }) => host === name);
  const offsets = await context.measures?.clockOffsets([from.host, to.host]);
  return {
    name: instance.address.name,
    mode,
    from: { ...from, seen: at(from.host), clockSeconds: offsets?.get(from.host) },
    to: { ...to, seen: at(to.host), clockSeconds: offsets?.get(to.host), capabilities: target.capabilities },
    volumes: survey.volumes.map(({ sizeBytes, allocatedBytes }, index) => ({
      name: survey.parts.volumes[index]?.address.name ?? String(index),
      sizeBytes,
      allocatedBytes,
    })),
    nics: survey.parts.nicUids.length,
    devices: Math.max(survey.parts.size.devices?.length ?? 0, survey.status.pciDevices?.length ?? 0),
    isEmulated: survey.status.accelerator === 'tcg',
    publicIpsLost: from.site === to.site ? [] : await publicIpsLostBy(context.store, instance.uid, from.site),
    forecast,
  };
}
