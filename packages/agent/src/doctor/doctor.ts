import { join } from 'node:path';
import { type Finding, found, toProblem } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { type Identity, openIdentityStore, withWay } from '../link/identity.js';
import { checkHost } from './host-checks.js';
import { checkHypervisor } from './hypervisor-checks.js';
import { checkNetwork } from './network-checks.js';
import { checkOverlay } from './overlay-checks.js';
import { checkPci } from './pci-checks.js';
import { checkState } from './state-checks.js';
import { checkStorage } from './storage-checks.js';

/**
 * Looks at everything an agent needs of its host, whether it runs or not, and changes nothing. Never raises: a check that cannot be made
 * is a finding, too.
 */
export async function examineHost(config: AgentConfig): Promise<readonly Finding[]> {
  const identity = await openIdentity(config);
  const known = 'privateKey' in identity ? identity : undefined;
  const groups: readonly (readonly [string, () => Promise<readonly Finding[]>])[] = [
    ['host', async () => await checkHost(config)],
    ['storage', async () => await checkStorage(config)],
    ['hypervisor', async () => await checkHypervisor(config)],
    ['identity', async () => ('level' in identity ? [identity] : [])],
    ['state', async () => await checkState(config, known)],
    ['network', async () => (known === undefined ? [] : await checkNetwork(config, known))],
    ['pci', async () => await checkPci(config)],
    ['overlay', async () => [await checkOverlay(config)]],
  ];
  const findings: Finding[] = [];
  for (const [name, look] of groups) {
    try {
      findings.push(...(await look()));
    } catch (error) {
      findings.push(found(name, 'fail', `could not be looked at: ${toProblem(error).message}`));
    }
  }
  return findings;
}

async function openIdentity(config: AgentConfig): Promise<Identity | Finding> {
  try {
    const kept = await openIdentityStore(config.stateDirectory).load();
    const identity = kept === undefined ? undefined : withWay(kept, config.proxies);
    if (identity !== undefined) return identity;
    return found(
      'identity',
      'fail',
      `${join(config.stateDirectory, 'identity')} holds no certificate`,
      'run what `virt8ra enrol HOST` prints',
    );
  } catch (error) {
    return found('identity', 'fail', toProblem(error).message, 'as root, or enrol the host anew');
  }
}
