import type { AgentConfig } from '../config.js';
import type { Log } from '../log.js';
import type { ImageFetcher } from '../storage/image-cache.js';
import { agentVersion } from '../version.js';
import { ownInstallation, readManifest } from './release-folder.js';
import { openUpdater, preflightWith, type Updater } from './updater.js';

/** Undefined for an agent that was not started by its launcher, so that nothing would start another release in its place, and for one that is told so. */
export async function openHostUpdater(
  config: AgentConfig,
  fetch: ImageFetcher,
  log: Log,
  report: () => void,
): Promise<Updater | undefined> {
  const { release, stateDirectory, updates } = config;
  if (release === undefined || updates === 'off') return undefined;
  return await openUpdater({
    stateDirectory,
    release,
    installed: readManifest(ownInstallation()) ?? { version: agentVersion, build: 'unknown' },
    fetch,
    preflight: preflightWith(process.argv.slice(2)),
    report,
    log,
  });
}
