export * from './guest-change.js';
export * from './guest-disk-facts.js';
export * from './guest-preflight.js';
export { preparation } from './guest-preparation.js';
export * from './guest-target.js';
