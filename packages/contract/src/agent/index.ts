export * from './desired.js';
export * from './filter.js';
export * from './host-object.js';
export * from './observed.js';
export * from './permit.js';
export * from './protocol.js';
export * from './samples.js';
export * from './transfer-units.js';
