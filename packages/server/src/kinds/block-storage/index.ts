/** Block storage: bound late. A record until an instance needs it at a host; from then on it is there until a migration moves it. */

export { createBlockStorageBehaviour } from './block-storage-behaviour.js';
export { bootOf, imageOf } from './boot.js';
export { originOfVolume, type RealizedBlockStorage, realizeBlockStorage } from './realize-block-storage.js';
export { blockStorageBoundTo } from './requested-site.js';
export { blockStorageBytes } from './size.js';
export { type BlockStorageStatus, type ImageFacts, imagePointer } from './status.js';
