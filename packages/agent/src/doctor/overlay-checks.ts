import { type Finding, found } from '@virt8ra/contract';
import type { AgentConfig } from '../config.js';
import { chooseTunnelBackend } from '../overlay/tunnel-backend.js';

/** Whether networks of this host can span machines, found out by making a device and taking it away again. */
export async function checkOverlay({ root, network, overlay }: AgentConfig): Promise<Finding> {
  const check = 'network/overlay';
  if (overlay.mode === 'off') return found(check, 'pass', 'switched off: networks here are islands');
  if (!root || network === 'user') return found(check, 'pass', 'none: networks of user mode have no tunnels');
  const { mode, reason } = await chooseTunnelBackend(`doctor ${process.pid}`, overlay.mode, { mode: 'bridge' });
  const mend =
    'load the kernel module wireguard, or apt install wireguard-go; then wireguard-tools and iputils-ping. --overlay off says that none is wanted';
  if (mode === 'none') return found(check, 'warn', `networks here are islands: ${reason}`, mend);
  return found(check, 'pass', `${mode === 'kernel' ? 'in the kernel' : 'as a process'}: ${reason}; udp ${overlay.port} must be open`);
}
