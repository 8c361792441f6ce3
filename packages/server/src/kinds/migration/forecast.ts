import type { ForecastConvergence, ForecastInput, MoveForecast } from '@virt8ra/contract';
import { type CarriedRate, carriedRate } from './carried-rate.js';
import { type ChangeCurve, changeCurve } from './change-curve.js';
import { courseOfCopy } from './converge.js';
import { correctionFrom } from './forecast-correction.js';
import type { DiskFacts, ForecastQuestion } from './forecast-question.js';
import { predictPauseMs } from './predict-pause.js';

/** What a move takes beside copying, seconds; earlier moves between the same hosts correct the sum. */
const usual = {
  /** Disks and networks at the target, its receiver, the first connection. */
  prepare: 1.5,
  /** The guest is seen to boot at the target, or to run there. */
  start: { live: 1, warm: 2, cold: 2 },
  /** A stop is asked for, and the guest shuts down. */
  stop: 4,
  /** Merging overlays and taking the source away. */
  end: 2.5,
} as const;
/** Both ends read their disks once more, at the same time, bytes a second. */
const digestPerSecond = 250e6;
/** QEMU stops a guest when its memory can be carried in so many seconds. */
const downtimeSeconds = 0.1;
const mostRounds = 40;

/** What takes from a forecast, as shares of its figures. */
interface Doubt {
  readonly duration: number;
  readonly pause: number;
  readonly bytes: number;
  readonly reason?: string;
}

const base: Doubt = { duration: 0.15, pause: 0.25, bytes: 0.1 };

interface Outcome {
  readonly convergence: ForecastConvergence;
  readonly durationSeconds?: number;
  readonly pauseMs?: number;
  readonly bytes?: number;
}

/**
 * What a move is going to take. Pure: the same measurements give the same forecast. What was not measured is said, and a figure that would be a
 * guess without it is left out. How it is made: docs/adr, “A forecast is arithmetic on what was measured”.
 */
export function forecastMove(question: ForecastQuestion): MoveForecast {
  const { at, mode, from, to, earlier } = question;
  const rate = carriedRate(question);
  const doubts = [base, ...rate.doubts, ...doubtsOfDisks(question)];
  const outcome = rate.bytesPerSecond === undefined ? withoutRate(question) : outcomeAt(question, rate.bytesPerSecond);
  const correction = correctionFrom(earlier, mode);
  const figure = (name: 'durationSeconds' | 'pauseMs' | 'bytes', factor: number, digits: number) => {
    const value = outcome[name];
    if (value === undefined || !Number.isFinite(value)) return undefined;
    return Number((value * factor).toFixed(digits));
  };
  const durationSeconds = figure('durationSeconds', correction.duration, 1);
  const pauseMs = figure('pauseMs', correction.pause, 0);
  const bytes = figure('bytes', correction.bytes, 0);
  const spread = (name: 'duration' | 'pause' | 'bytes') => {
    const sum = doubts.reduce((total, doubt) => total + doubt[name], 0);
    // Earlier moves have shown what the measurements do not.
    return Math.min(3, sum * (correction.moves > 0 ? 0.8 : 1));
  };
  const between = (value: number | undefined, name: 'duration' | 'pause' | 'bytes') =>
    value === undefined ? undefined : { least: round3(value / (1 + spread(name))), most: round3(value * (1 + spread(name))) };
  const widest = Math.max(spread('duration'), spread('bytes'));
  const { perGB, currency } = question.egressPrice ?? {};
  const leaves = from.site !== to.site;
  return {
    at: at.toISOString(),
    mode,
    ...(durationSeconds === undefined ? {} : { durationSeconds }),
    ...(pauseMs === undefined ? {} : { pauseMs }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(bytes === undefined || perGB === undefined || currency === undefined || !leaves
      ? {}
      : { egressCost: { amount: round3((bytes / 1e9) * perGB), currency } }),
    convergence: outcome.convergence,
    confidence: {
      level: durationSeconds === undefined || widest > 0.6 ? 'low' : widest > 0.3 ? 'medium' : 'high',
      ...withDefined({ durationSeconds: between(durationSeconds, 'duration') }),
      ...withDefined({ pauseMs: between(pauseMs, 'pause') }),
      ...withDefined({ bytes: between(bytes, 'bytes') }),
      reasons: doubts.flatMap(({ reason }) => (reason === undefined ? [] : [reason])),
    },
    correction,
    from: inputsOf(question, rate, leaves),
  };
}

function outcomeAt(question: ForecastQuestion, bytesPerSecond: number): Outcome {
  const { mode, isRunning, minPasses, disks, rttMs } = question;
  const fullBytes = bytesToRead(disks);
  const proof = fullBytes / digestPerSecond;
  const around = usual.prepare + usual.start[mode] + proof + usual.end;
  const rtt = rttMs?.value ?? 0;
  if (mode === 'cold' || !isRunning) {
    const copy = fullBytes / bytesPerSecond;
    const stop = isRunning ? usual.stop : 0;
    const pauseMs = isRunning ? (stop + copy + usual.start.cold) * 1000 + rtt : 0;
    const reason = 'it stands still while it is copied';
    return { convergence: { verdict: 'not-needed', reason }, durationSeconds: around + stop + copy, pauseMs, bytes: fullBytes };
  }
  const curves = disks.map((disk) => changeCurve({ ...disk.changes, sizeBytes: disk.sizeBytes }));
  const changed: ChangeCurve = (seconds) => curves.reduce((sum, curve) => sum + curve(seconds), 0);
  const isMeasured = disks.every(({ changes }) => changes !== undefined);
  const course = courseOfCopy({ fullBytes, changed, bytesPerSecond, minPasses: mode === 'warm' ? minPasses : 0, isMeasured });
  const { convergence, seconds, bytes, leftBytes } = course;
  if (seconds === undefined || bytes === undefined || leftBytes === undefined) return { convergence };
  if (mode === 'warm') {
    const pauseMs = predictPauseMs({ dirtyBytes: leftBytes, bytesPerSecond, rttMs: rtt });
    return { convergence, durationSeconds: around + seconds + pauseMs / 1000, pauseMs, bytes };
  }
  const memory = memoryCourse(question, bytesPerSecond);
  const verdict = memory.stays === undefined ? convergence : { ...convergence, verdict: 'never' as const, reason: memory.stays };
  if (memory.stays !== undefined) return { convergence: verdict };
  const pauseMs = predictPauseMs({ dirtyBytes: memory.pauseBytes, bytesPerSecond, rttMs: rtt });
  return { convergence, durationSeconds: around + seconds + memory.seconds + pauseMs / 1000, pauseMs, bytes: bytes + memory.bytes };
}

/** The memory of a live move: carried in rounds while the guest runs, or at once where it is emulated and must stand still. */
function memoryCourse(
  { memory }: ForecastQuestion,
  bytesPerSecond: number,
): { readonly seconds: number; readonly bytes: number; readonly pauseBytes: number; readonly stays?: string } {
  if (memory === undefined) return { seconds: 0, bytes: 0, pauseBytes: 0 };
  const { bytes: whole, isEmulated, dirtyPerSecond } = memory;
  if (isEmulated) return { seconds: 0, bytes: whole, pauseBytes: whole };
  const dirty = dirtyPerSecond?.value ?? 0;
  let left = whole;
  let [seconds, bytes] = [0, 0];
  for (let round = 0; round < mostRounds && left > bytesPerSecond * downtimeSeconds; round += 1) {
    const lasts = left / bytesPerSecond;
    seconds += lasts;
    bytes += left;
    left = Math.min(whole, dirty * lasts);
  }
  if (left <= bytesPerSecond * downtimeSeconds) return { seconds, bytes: bytes + left, pauseBytes: left };
  const stays = `it changes ${Math.round(dirty / 1e6)} MB of its memory a second and ${Math.round(bytesPerSecond / 1e6)} MB/s are carried: its memory never gets across while it runs`;
  return { seconds, bytes, pauseBytes: left, stays };
}

/** Bytes can be said without a rate only where nothing changes while they are copied. */
function withoutRate({ mode, isRunning, disks }: ForecastQuestion): Outcome {
  if (mode === 'cold' || !isRunning)
    return { convergence: { verdict: 'not-needed', reason: 'it stands still while it is copied' }, bytes: bytesToRead(disks) };
  return { convergence: { verdict: 'unknown', reason: 'what the two hosts carry to each other was not measured' } };
}

function bytesToRead(disks: readonly DiskFacts[]): number {
  return disks.reduce((sum, { allocatedBytes, sizeBytes }) => sum + Math.min(sizeBytes, allocatedBytes?.value ?? sizeBytes), 0);
}

const staleSeconds = 300;

function doubtsOfDisks({ at, disks, mode, isRunning, memory }: ForecastQuestion): readonly Doubt[] {
  const doubts: Doubt[] = [];
  const unknown = disks.filter(({ allocatedBytes }) => allocatedBytes === undefined).map(({ name }) => name);
  if (unknown.length > 0)
    doubts.push({
      duration: 0.5,
      pause: 0,
      bytes: 0.5,
      reason: `how much of ${listed(unknown)} is used is not known; all of it was assumed`,
    });
  if (mode === 'cold' || !isRunning) return doubts;
  const silent = disks.filter(({ changes }) => changes === undefined).map(({ name }) => name);
  if (silent.length > 0)
    doubts.push({
      duration: 0.2,
      pause: 1,
      bytes: 0.2,
      reason: `how ${listed(silent)} changes was not measured yet; not at all was assumed`,
    });
  const raw = disks.filter(({ changes }) => changes !== undefined && (changes.distinct ?? []).length === 0).map(({ name }) => name);
  if (raw.length > 0)
    doubts.push({
      duration: 0.1,
      pause: 0.4,
      bytes: 0.15,
      reason: `of ${listed(raw)} is known what is written, not how often to the same place`,
    });
  const old = disks.filter(({ changes }) => changes !== undefined && at.getTime() - Date.parse(changes.observedAt) > staleSeconds * 1000);
  if (old.length > 0)
    doubts.push({
      duration: 0.1,
      pause: 0.3,
      bytes: 0.1,
      reason: `what is known of how ${listed(old.map(({ name }) => name))} changes is older than 5 minutes`,
    });
  if (mode === 'live' && memory !== undefined && !memory.isEmulated && memory.dirtyPerSecond === undefined)
    doubts.push({ duration: 0.2, pause: 1, bytes: 0.2, reason: 'how its memory changes was not measured' });
  return doubts;
}

function inputsOf(question: ForecastQuestion, rate: CarriedRate, leaves: boolean): ForecastInput[] {
  const { disks, memory, rttMs, from, to, egressPrice, mode, isRunning } = question;
  const path = `${from.host} → ${to.host}`;
  const inputs: ForecastInput[] = [...rate.inputs];
  inputs.push(
    rttMs === undefined
      ? { what: 'round-trip', of: path, reason: 'it was not measured' }
      : { what: 'round-trip', of: path, unit: 'ms', ...rttMs },
  );
  for (const { name, allocatedBytes, sizeBytes, changes } of disks) {
    inputs.push(
      allocatedBytes === undefined
        ? { what: 'allocated', of: name, value: sizeBytes, unit: 'bytes', reason: 'its site does not tell; this is its size' }
        : { what: 'allocated', of: name, unit: 'bytes', ...allocatedBytes },
    );
    if (mode === 'cold' || !isRunning) continue;
    if (changes === undefined) inputs.push({ what: 'disk-changes', of: name, reason: 'not measured yet' });
    else {
      const { source, observedAt, writtenPerSecond, distinct = [] } = changes;
      if (writtenPerSecond !== undefined)
        inputs.push({ what: 'disk-writes', of: name, value: writtenPerSecond, unit: 'bytes/s', source, observedAt });
      for (const { seconds, bytes } of distinct)
        inputs.push({
          what: 'disk-changes',
          of: name,
          value: bytes / seconds,
          unit: 'bytes/s',
          source,
          observedAt,
          reason: `distinct blocks within ${Math.round(seconds)} s`,
        });
    }
  }
  if (mode === 'live' && memory !== undefined) {
    inputs.push({ what: 'memory', value: memory.bytes, unit: 'bytes', ...provenance(memory.bytesFrom) });
    if (memory.isEmulated) inputs.push({ what: 'memory-changes', reason: 'an emulated guest stands still while its memory is carried' });
    else if (memory.dirtyPerSecond === undefined) inputs.push({ what: 'memory-changes', reason: 'it was not measured' });
    else inputs.push({ what: 'memory-changes', unit: 'bytes/s', ...memory.dirtyPerSecond });
  }
  if (!leaves) return inputs;
  inputs.push(
    egressPrice === undefined
      ? { what: 'egress-price', of: from.site, reason: `site ${from.site} does not say what a GB that leaves it costs` }
      : { what: 'egress-price', of: from.site, value: egressPrice.perGB, unit: 'per-GB', source: `site/${from.site}` },
  );
  return inputs;
}

function provenance(measured: { readonly source: string; readonly observedAt: string } | undefined) {
  return measured === undefined
    ? { reason: 'its size; what it uses of it is not known' }
    : { source: measured.source, observedAt: measured.observedAt };
}

function withDefined<Value extends object>(value: Value): { [Key in keyof Value]?: Exclude<Value[Key], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as {
    [Key in keyof Value]?: Exclude<Value[Key], undefined>;
  };
}

function listed(names: readonly string[]): string {
  return names.length <= 3 ? names.join(' and ') : `${names.slice(0, 3).join(', ')} and others`;
}

function round3(value: number): number {
  return Number(value.toFixed(3));
}
