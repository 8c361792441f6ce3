import { hash } from 'node:crypto';
import { transferChunkBytes } from '@virt8ra/contract/plain';

/** A disk as the mover sees it: chunks of 1 MiB, each known by the SHA-256 of its content. The last one may be shorter. */

export const chunkBytes = transferChunkBytes;
export const digestBytes = 32;

export function chunkCount(sizeBytes: number): number {
  return Math.ceil(sizeBytes / chunkBytes);
}

export function chunkLength(sizeBytes: number, index: number): number {
  return Math.min(chunkBytes, sizeBytes - index * chunkBytes);
}

export function digestOf(bytes: Uint8Array): Buffer {
  return hash('sha256', bytes, 'buffer');
}
