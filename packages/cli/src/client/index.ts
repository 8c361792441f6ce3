/** Typed HTTP client of the control plane. Knows the API's grammar and nothing of the terminal. */
export * from './client.js';
export { type ConnectionFault, faultOf } from './exchange.js';
export type { Feed, FeedEvent, FeedOptions } from './feed.js';
export { partsOf, pathOf } from './path.js';
export { rest, type TransportOptions } from './transport.js';
export type { UploadOptions, UploadSource } from './upload.js';
