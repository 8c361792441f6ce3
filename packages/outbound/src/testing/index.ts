/** What tests of outbound calls need: a real proxy, and a CA. */
export { type ConnectProxy, startConnectProxy } from './connect-proxy.js';
export { createReceiverAuthority, type ReceiverAuthority } from './receiver-authority.js';
