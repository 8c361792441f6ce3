/** What every part of Virt8ra must agree on: kinds, the agent protocol, problems, ids, references. Isomorphic: no `node:`, no DOM. */
export * from './agent/index.js';
export * from './audit.js';
export * from './caller.js';
export * from './finding.js';
export * from './host-path.js';
export * from './id.js';
export * from './kind.js';
export * from './kinds/index.js';
export * from './problem.js';
export * from './reference.js';
export * from './restore.js';
export * from './secrets.js';
export * from './shape.js';
export * from './stream/index.js';
export * from './usage-look.js';
export * from './usage-record.js';
