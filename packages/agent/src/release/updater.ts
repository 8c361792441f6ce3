import { join } from 'node:path';
import { setTimeout as rest } from 'node:timers/promises';
import { type AgentReleaseFacts, type DesiredAgentRelease, type DesiredState, Problem, toProblem } from '@virt8ra/contract';
import { makeDirectory } from '../disk/atomic-file.js';
import { troubleFrom } from '../host-context.js';
import { architectureName } from '../inventory/inventory.js';
import type { Log } from '../log.js';
import type { ImageFetcher } from '../storage/image-cache.js';
import { imagePath } from '../storage/image-download.js';
import { runCommand } from '../system/run-command.js';
import { agentVersion } from '../version.js';
import { afterSuccess } from './choose-release.js';
import { isWholeRelease, pruneReleases, readManifest, releaseName, releaseProgram, unpackRelease } from './release-folder.js';
import {
  type FinishedOrder,
  freshRecord,
  type InstalledPackage,
  installedRelease,
  type ReleaseRecord,
  type ReleaseTrouble,
  readReleaseRecord,
  releasesFolder,
  withFinished,
  writeReleaseRecord,
} from './release-record.js';

/** What the agent ends with to be replaced by what the launcher then chooses. */
export const switchExitCode = 75;

export interface UpdaterOptions {
  readonly stateDirectory: string;
  /** The release that this process is; the launcher said so. */
  readonly release: string;
  /** The host's package; counts only while this process is it. */
  readonly installed: InstalledPackage;
  readonly fetch: ImageFetcher;
  /** Asks a release's program whether it can take over here; raises what is in the way. Answers its version. */
  readonly preflight: (program: string) => Promise<string>;
  /** Something changed that the control plane should see. */
  readonly report: () => void;
  readonly log: Log;
  readonly retryMs?: number;
}

export interface Updater {
  facts(): AgentReleaseFacts;
  /** A desired state was taken over from a linked control plane: a release on trial has proven itself; a new order is carried out. */
  follow(state: DesiredState): Promise<void>;
  /** Resolves when this process is to end with `switchExitCode`. */
  readonly switching: Promise<void>;
  stop(): Promise<void>;
}

interface Work {
  readonly order: DesiredAgentRelease;
  phase: 'fetching' | 'checking' | 'trying';
  at: string;
  problem?: ReleaseTrouble;
}

/** Has a release say whether it can take over here, with the arguments and the environment of this process. */
export function preflightWith(argv: readonly string[]): (program: string) => Promise<string> {
  const words = argv.map((word) => (word === 'run' ? 'preflight' : word));
  return async (program) => {
    const asked = ['VIRT8RA_AGENT_RELEASE=preflight', program, ...words];
    const said = await runCommand('env', asked, { timeoutMs: 60_000 }).catch((error: unknown) => {
      const { message } = toProblem(error);
      throw new Problem('unsupported', `it cannot run here: ${message.replace(/^.*virt8ra-agent: /s, '')}`, { cause: error });
    });
    return said.trim();
  };
}

/** Carries out orders to run another release: fetches it, verifies it, asks it, and gives way to it. */
export async function openUpdater(options: UpdaterOptions): Promise<Updater> {
  const { stateDirectory, release, log, report } = options;
  const root = releasesFolder(stateDirectory);
  const now = () => new Date().toISOString();
  const startedAt = now();
  await makeDirectory(root, 0o755);
  let record = (await readReleaseRecord(stateDirectory)) ?? freshRecord(options.installed, startedAt);
  let work: Work | undefined;
  let stopping: AbortController | undefined;
  let underWay: Promise<void> = Promise.resolve();
  let give = () => {};
  const switching = new Promise<void>((resolve) => {
    give = resolve;
  });

  const write = async (next: ReleaseRecord) => {
    await writeReleaseRecord(stateDirectory, next);
    record = next;
  };
  const prune = async () => {
    const kept = [record.current, record.previous, record.trial?.release].filter((name) => name !== undefined);
    await pruneReleases(root, new Set(kept)).catch((error: unknown) =>
      log.warn('old releases could not be removed', { problem: String(error) }),
    );
  };
  const enter = (phase: Work['phase']) => {
    if (work === undefined) return;
    work = { order: work.order, phase, at: now() };
    log.info('an update goes on', { phase, version: work.order.version });
    report();
  };
  const finish = async (end: FinishedOrder) => {
    await write({ ...record, finished: withFinished(record, end) });
    work = undefined;
    await prune();
    report();
  };

  /** Raises what is in the way for good; waits for what passes by itself. */
  const fetch = async ({ sha256, bytes }: DesiredAgentRelease, signal: AbortSignal) => {
    for (let pauseMs = options.retryMs ?? 1_000; ; pauseMs = Math.min(pauseMs * 2, 30_000)) {
      try {
        return await options.fetch({ root, sha256, bytes, noun: 'release' }, signal);
      } catch (error) {
        const problem = toProblem(error);
        if (signal.aborted || problem.kind !== 'unavailable') throw problem;
        if (work !== undefined && work.problem?.message !== problem.message) {
          work.problem = troubleFrom(problem);
          report();
        }
        await rest(pauseMs, undefined, { signal });
      }
    }
  };
  const check = async (name: string, { version }: DesiredAgentRelease) => {
    const manifest = readManifest(join(root, name));
    const architecture = architectureName();
    if (manifest?.product !== 'virt8ra-agent') throw new Problem('validation', 'what came is not a release of the agent');
    if (manifest.version !== version) throw new Problem('validation', `it is ${manifest.version}, not ${version}`);
    if (manifest.architecture !== architecture)
      throw new Problem('validation', `it is for ${manifest.architecture}, and this host is ${architecture}`);
    const said = await options.preflight(releaseProgram(root, name));
    if (said !== version) throw new Problem('validation', `it says that it is ${said}`);
  };
  const carryOut = async (order: DesiredAgentRelease, signal: AbortSignal) => {
    const name = releaseName(order.version, order.sha256);
    if (name === release && name === record.current) return await finish({ order: order.order, version: order.version, at: now() });
    if (!isWholeRelease(root, name)) {
      await fetch(order, signal);
      enter('checking');
      await unpackRelease(root, imagePath(root, order.sha256), name);
    } else enter('checking');
    await check(name, order);
    signal.throwIfAborted();
    const { version, trialSeconds: seconds } = order;
    await write({ ...record, trial: { order: order.order, version, release: name, seconds, at: now(), starts: 0 } });
    enter('trying');
    log.info('the agent gives way to another release; its guests go on', { version, release: name, seconds });
    give();
  };
  const begin = (order: DesiredAgentRelease) => {
    stopping?.abort();
    const abort = new AbortController();
    const before = underWay;
    stopping = abort;
    underWay = before.then(async () => {
      if (abort.signal.aborted) return;
      work = { order, phase: 'fetching', at: now() };
      log.info('an update is ordered', { version: order.version, order: order.order });
      report();
      try {
        await carryOut(order, abort.signal);
      } catch (error) {
        if (abort.signal.aborted) return;
        const { code, message } = troubleFrom(toProblem(error));
        log.error('an update failed', { version: order.version, code, problem: message });
        const problem = { code, message: `release ${order.version} was not tried: ${message}` };
        await finish({ order: order.order, version: order.version, at: now(), problem }).catch((fault: unknown) => {
          // The same order is begun again with the next desired state.
          work = undefined;
          log.error('the end of an update could not be written down', { problem: String(fault) });
        });
      }
    });
  };

  await prune();
  return {
    facts: () => ({
      running: { version: agentVersion, release, since: release === record.current ? record.since : startedAt },
      ...(record.previous === undefined
        ? {}
        : { previous: { version: versionOf(record.previous, record.installed), release: record.previous } }),
      ...orderFacts(record, work),
      ...lastFailed(record),
    }),
    async follow({ agentRelease }) {
      const { trial } = record;
      if (trial?.release === release) {
        await write(afterSuccess(record, trial, now()));
        log.info('this release has proven itself', { version: trial.version });
        await prune();
        report();
      }
      if (agentRelease === undefined || work?.order.order === agentRelease.order) return;
      if (!record.finished.some(({ order }) => order === agentRelease.order)) begin(agentRelease);
    },
    switching,
    async stop() {
      stopping?.abort();
      await underWay;
    },
  };
}

function orderFacts({ trial, finished }: ReleaseRecord, work: Work | undefined): Pick<AgentReleaseFacts, 'order'> {
  if (work !== undefined) {
    const { order, phase, at, problem } = work;
    return { order: { order: order.order, version: order.version, phase, at, ...(problem === undefined ? {} : { problem }) } };
  }
  if (trial !== undefined) return { order: { order: trial.order, version: trial.version, phase: 'trying', at: trial.at } };
  const [last] = finished;
  if (last === undefined) return {};
  const { order, version, at, problem } = last;
  return { order: { order, version, phase: problem === undefined ? 'done' : 'failed', at, ...(problem === undefined ? {} : { problem }) } };
}

function lastFailed({ finished }: ReleaseRecord): Pick<AgentReleaseFacts, 'lastFailed'> {
  for (const { version, at, problem } of finished) if (problem !== undefined) return { lastFailed: { version, at, problem } };
  return {};
}

function versionOf(release: string, installed: InstalledPackage): string {
  return release === installedRelease ? installed.version : release.replace(/-[0-9a-f]{12}$/, '');
}
