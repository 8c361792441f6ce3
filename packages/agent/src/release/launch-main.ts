/**
 * What the launcher (`bin/virt8ra-agent`) asks between two processes of the agent. It belongs to the installed package and is never updated by a release, so that
 * nothing a release brings can keep an earlier one from being started again.
 *
 *     choose ENDED WORD…   prints RELEASE SECONDS PROGRAM: what is to be started; SECONDS is 0 unless it is on trial
 *     trial WORD…          ends with 0 while a release is on trial, else with 1
 *     watch PID WORD…      ends a process on trial when its time is over
 *
 * WORD… are the agent's own arguments.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { parseConfig } from '../config.js';
import { livingHolder } from '../disk/state-lock.js';
import { systemClock } from '../system/boot-clock.js';
import { readProcessIdentity, signalProcess } from '../system/process-identity.js';
import { chooseRelease, type StartFacts, settled } from './choose-release.js';
import { isWholeRelease, ownInstallation, readManifest, releaseProgram } from './release-folder.js';
import { installedRelease, readReleaseRecord, releasesFolder, writeReleaseRecord } from './release-record.js';

const lookMs = 500;
const endingMs = 5_000;

function say(what: string): void {
  process.stderr.write(`virt8ra-agent: ${what}\n`);
}

/** The agent tells what is wrong with its arguments; here only the state directory counts. */
function stateDirectoryOf(words: readonly string[]): string {
  const { values } = parseArgs({ args: [...words], options: { state: { type: 'string' } }, strict: false });
  const state = typeof values.state === 'string' ? values.state : process.env['VIRT8RA_AGENT_STATE'];
  return parseConfig({ state }, safeEnvironment(), () => '', process.getuid?.() ?? 0).stateDirectory;
}

function safeEnvironment(): Record<string, string | undefined> {
  const { HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR } = process.env;
  return { HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR };
}

function startOf(release: string, seconds: number, root: string): string {
  const program = release === installedRelease ? join(ownInstallation(), 'bin', 'virt8ra-agent') : releaseProgram(root, release);
  return `${release} ${seconds} ${program}`;
}

async function choose(ended: string, words: readonly string[]): Promise<string> {
  const stateDirectory = stateDirectoryOf(words);
  const root = releasesFolder(stateDirectory);
  const installed = startOf(installedRelease, 0, root);
  const before = await readReleaseRecord(stateDirectory);
  if (before === undefined) return installed;
  const clock = systemClock();
  const facts: StartFacts = {
    installed: readManifest(ownInstallation()) ?? { version: 'unknown', build: 'unknown' },
    bootId: clock.bootId,
    sinceBootMs: clock.sinceBootMs(),
    now: new Date().toISOString(),
    isUsable: (release) => isWholeRelease(root, release),
    ended: ended === '' ? undefined : ended,
  };
  // The record is that agent's; what is started beside it is told so and ends.
  if (await isHeld(stateDirectory)) return startOf(settled(before, facts).release, 0, root);
  const choice = chooseRelease(before, facts);
  try {
    if (choice.record !== before) await writeReleaseRecord(stateDirectory, choice.record);
    return startOf(choice.release, choice.trialSeconds ?? 0, root);
  } catch (error) {
    say(`what ran before is started, because ${root} cannot be written: ${String(error)}`);
    // A start on trial that is not counted could go on for ever.
    return startOf(settled(before, facts).release, 0, root);
  }
}

/** Whether an agent runs here. One that lost its launcher is ending: it is waited for. */
async function isHeld(stateDirectory: string): Promise<boolean> {
  for (const end = performance.now() + endingMs; performance.now() < end; ) {
    if ((await livingHolder(join(stateDirectory, 'agent.pid'))) === undefined) return false;
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
  return true;
}

async function isOnTrial(words: readonly string[]): Promise<boolean> {
  return (await readReleaseRecord(stateDirectoryOf(words)))?.trial !== undefined;
}

async function watch(pid: number, words: readonly string[]): Promise<void> {
  const stateDirectory = stateDirectoryOf(words);
  const clock = systemClock();
  const watched = await readProcessIdentity(pid);
  for (;;) {
    const trial = (await readReleaseRecord(stateDirectory))?.trial;
    const living = await readProcessIdentity(pid);
    if (trial?.began === undefined || watched === undefined || living?.startTicks !== watched.startTicks) return;
    if (clock.sinceBootMs() - trial.began.sinceBootMs >= trial.seconds * 1000) {
      await signalProcess(watched, 'SIGKILL');
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, lookMs));
  }
}

const [order, ...rest] = process.argv.slice(2);
const [first = '', ...words] = rest;
switch (order) {
  case 'choose': {
    const chosen = await choose(first, words).catch((error: unknown) => {
      say(`the installed agent is started, because no release can be chosen: ${String(error)}`);
      return startOf(installedRelease, 0, '');
    });
    process.stdout.write(`${chosen}\n`);
    break;
  }
  case 'trial':
    process.exitCode = (await isOnTrial(rest).catch(() => false)) ? 0 : 1;
    break;
  case 'watch':
    await watch(Number(first), words);
    break;
  default:
    process.exitCode = 2;
}
