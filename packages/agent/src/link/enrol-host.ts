import { chmod } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { makeDirectory } from '../disk/atomic-file.js';
import type { Log } from '../log.js';
import { enrol } from './enrol.js';
import { type Identity, openIdentityStore } from './identity.js';

/** Makes the state directory and enrols this host. Raises Problem conflict when it is enrolled already. */
export async function enrolHost(config: AgentConfig, log: Log): Promise<Identity> {
  await makeStateDirectory(config);
  const store = openIdentityStore(config.stateDirectory);
  const existing = await store.load();
  if (existing !== undefined) {
    throw new Problem(
      'conflict',
      `this host is enrolled already, as ${existing.host} at ${existing.server}. To enrol it elsewhere, give --state another directory.`,
    );
  }
  if (config.enrol === undefined)
    throw new Problem('validation', '--server, --token and --ca-sha256 are missing; `virt8ra enrol` prints the whole command.');
  return await enrol(config.enrol, store, log, config.proxies);
}

export async function makeStateDirectory(config: AgentConfig): Promise<void> {
  await makeDirectory(config.stateDirectory, 0o711);
  // Guests under their own users must pass through it; what is secret lies in folders of its own.
  if (config.root) await chmod(config.stateDirectory, 0o711);
}
