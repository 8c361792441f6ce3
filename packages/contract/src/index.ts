/** What every part of Virt8ra must agree on: kinds, the agent protocol, problems, ids, references. Isomorphic: no `node:`, no DOM. */
export * from './id.js';
export * from './problem.js';
