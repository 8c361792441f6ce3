export * from './carrier.js';
export * from './join-octets.js';
export * from './note.js';
export * from './opened-stream.js';
export * from './relay.js';
