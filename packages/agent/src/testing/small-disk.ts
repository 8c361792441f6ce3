import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** Why no filesystem of one's own can be had here; undefined when it can. */
export function noSmallDisk(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'only root may mount a filesystem of its own';
}

/** Mounts an empty filesystem of `bytes` at `folder`; answers how to take it away again. */
export function mountSmallDisk(folder: string, bytes: number): () => void {
  mkdirSync(folder, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=0711`, 'tmpfs', folder]);
  return () => void execFileSync('umount', ['--lazy', folder]);
}
