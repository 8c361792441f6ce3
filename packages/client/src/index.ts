/** Typed client of a control plane: types from its description, and what one needs around them. Knows nothing of a terminal. */
export { Problem, type ProblemKind, type ResourceOf, type SpecOf, type StatusOf } from '@virt8ra/contract';
export * from './client.js';
export { type Answer, type ConnectionFault, type ExchangeRequest, exchange, faultOf } from './exchange.js';
export type { Feed, FeedEvent, FeedOptions } from './feed.js';
export type { FollowOptions, Sighting } from './follow.js';
export type { components, operations, paths } from './generated/open-api.js';
export type { OperationAnswer, OperationInput, OperationMethod, PathOf, Request, Schemas } from './operation.js';
export { partsOf, pathOf } from './path.js';
export { pauseMs, rest, type TokenSource, type TransportOptions } from './transport.js';
export type { UploadOptions, UploadSource } from './upload.js';
export type { WaitOptions, Wanted } from './wait.js';
