/** Test doubles for those who build on the client. */
export * from './test-control-plane.js';
