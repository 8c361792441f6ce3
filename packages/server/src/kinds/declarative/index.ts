/** Declarative references: what is named may be made later, and what another holds is waited for. Of the profile `conformance` alone. */
export { declarativeMigrations, wakeAwaiting } from './awaited.js';
export { declarativeBehaviour } from './declarative-behaviour.js';
