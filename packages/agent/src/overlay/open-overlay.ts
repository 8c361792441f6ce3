import type { Quarantine } from '../disk/quarantine.js';
import type { HostContext } from '../host-context.js';
import { networkPlace } from '../network/network-place.js';
import { Overlay, type OverlayOptions } from './overlay.js';
import { chooseTunnelBackend, segmentId } from './tunnel-backend.js';

/** The overlay of this host, by what its machine has for it. */
export async function openOverlay(
  { config, agentId, controlPlane, networking, clock, ledger, dataAddress, log }: HostContext,
  quarantine: Quarantine,
  on: OverlayOptions['on'],
): Promise<Overlay> {
  const backend = await chooseTunnelBackend(agentId, config.overlay.mode, networking);
  log.info('the overlay was looked at', backend);
  return await Overlay.open({
    ...config.overlay,
    stateDirectory: config.stateDirectory,
    agentId,
    controlPlane,
    backend,
    segment: await segmentId(clock.bootId),
    dataAddress,
    clock,
    desired: () => (ledger.told ? ledger.state.overlay : 'untold'),
    networks: () => ledger.state.networks.map(({ vni }) => vni),
    quarantine,
    placeOf: (vni) => networkPlace(controlPlane, vni),
    log,
    on,
  });
}
