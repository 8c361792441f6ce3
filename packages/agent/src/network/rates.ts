import type { DesiredNic } from '@virt8ra/contract';
import { shaperName } from './interface-name.js';
import { runInside } from './network-place.js';

/**
 * Limits what a tap carries, in each direction: what goes to the guest by a token bucket at the tap, what comes from it by one at a device
 * of its own, to which the kernel redirects it. No rate: no limit. May be repeated; packets per second are the rules' business.
 */
export async function limitRate(namespace: string, tap: string, rate: DesiredNic['rate']): Promise<void> {
  const megabits = rate?.megabitsPerSecond;
  const shaper = shaperName(tap);
  const clear = `tc qdisc del dev ${tap} root 2>/dev/null || true; tc qdisc del dev ${tap} ingress 2>/dev/null || true
ip link delete dev ${shaper} 2>/dev/null || true`;
  if (megabits === undefined) {
    await runInside(namespace, 'sh', ['-euc', clear]);
    return;
  }
  const bucket = `tbf rate ${megabits}mbit burst ${burstBytes(megabits)} latency 50ms`;
  await runInside(namespace, 'sh', [
    '-euc',
    `${clear}
ip link add ${shaper} mtu 65535 type ifb 2>/dev/null || ip link add ${shaper} type ifb
ip link set dev ${shaper} up
tc qdisc add dev ${shaper} root ${bucket}
tc qdisc add dev ${tap} root ${bucket}
tc qdisc add dev ${tap} handle ffff: ingress
tc filter add dev ${tap} parent ffff: protocol all u32 match u32 0 0 action mirred egress redirect dev ${shaper}`,
  ]);
}

/** Ten milliseconds' worth, and never less than a segment that the guest's network card hands over as one. */
function burstBytes(megabits: number): number {
  return Math.max(Math.round((megabits * 1_000_000) / 8 / 100), 128 * 1024);
}
