import { agentThrough } from '@virt8ra/outbound';
import type { Identity } from './identity.js';

/** What a WebSocket to the control plane needs to go through the proxy before it; nothing where there is none. */
export function through(
  { proxies = {} }: Pick<Identity, 'proxies'>,
  url: URL,
): { readonly agent?: NonNullable<ReturnType<typeof agentThrough>> } {
  const agent = agentThrough(url, proxies);
  return agent === undefined ? {} : { agent };
}
