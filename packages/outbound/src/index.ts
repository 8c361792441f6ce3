/** The way out: which proxy stands before a URL, connections through it, and which certificates are trusted. Needs no shapes. */
export { bareHost, type GivenProxies, type Proxies, proxiesFrom, proxyFor, proxyText } from './proxies.js';
export { trustWith } from './trust.js';
export { openTunnel, type TunnelOptions } from './tunnel.js';
export { agentThrough, type WayOptions } from './tunnel-agent.js';
