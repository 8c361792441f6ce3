/**
 * The part of the contract that needs no shapes: problems, and the units of a transfer. A second public entry, for programs that must start
 * at once and stay small: the library of shapes takes a tenth of a second and several MiB.
 */
export * from '../agent/transfer-units.js';
export * from '../problem.js';
