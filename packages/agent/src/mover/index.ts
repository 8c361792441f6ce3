/**
 * The one mover of disks: reads a frozen point over NBD, carries it in digested chunks over mutual TLS, and writes it where the receiver's
 * journal says what is held. It never decides who may run a guest.
 */

export { chunkBytes } from './chunks.js';
export { type DigestOptions, digestExport } from './digest.js';
export { DigestTable } from './digest-table.js';
export { NbdClient, type NbdOptions } from './nbd/client.js';
export type { NbdExtent } from './nbd/reply-reader.js';
export { type PassesOptions, type PassesOutcome, runPasses } from './passes.js';
export { createReceiver, type Receiver, type ReceiverOptions } from './receiver.js';
export { Sender, type SenderOptions } from './sender.js';
export { type MoverRole, type SpawnedMover, spawnedMovers, spawnMover } from './spawn.js';
