/** What other packages may use of the CLI: the typed client. */
export * from './client/index.js';
