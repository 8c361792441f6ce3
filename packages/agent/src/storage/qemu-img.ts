import { Problem } from '@virt8ra/contract';
import { driverAt } from '../disk/disk-driver.js';
import { runCommand } from '../system/run-command.js';

export type ImageFormat = 'qcow2' | 'raw';

/** Bounds for programs that read an image made by strangers (CPU seconds, bytes of address space). */
const readerLimits = ['--cpu=60', '--as=2147483648'] as const;
const longMs = 6 * 60 * 60_000;

export interface ImageFacts {
  readonly virtualBytes: number;
  readonly allocatedBytes: number;
}

/**
 * What an image file is, read as exactly `format`: its content never chooses the format. Raises Problem validation for images that name
 * other files (backing or data files), are encrypted, or are not readable as that format.
 */
export async function inspectImage(path: string, format: ImageFormat): Promise<ImageFacts> {
  const answer = await runCommand('prlimit', [...readerLimits, 'qemu-img', 'info', '-U', '--output=json', '-f', format, path]).catch(
    (error: unknown) => {
      if (error instanceof Problem && error.kind === 'internal')
        throw new Problem('validation', `the image is not a readable ${format} file: ${error.message}`);
      throw error;
    },
  );
  const facts = JSON.parse(answer) as Record<string, unknown>;
  if (facts['backing-filename'] !== undefined || facts['full-backing-filename'] !== undefined) {
    throw new Problem('validation', 'the image depends on a backing file; flatten it first (`qemu-img convert -O qcow2 IN OUT`)');
  }
  const specific = (facts['format-specific'] as { data?: Record<string, unknown> } | undefined)?.data ?? {};
  if (specific['data-file'] !== undefined || specific['data-file-raw'] === true) {
    throw new Problem(
      'validation',
      'the image keeps its content in an external data file; flatten it first (`qemu-img convert -O qcow2 IN OUT`)',
    );
  }
  if (facts['encrypted'] === true || specific['encrypt'] !== undefined) throw new Problem('validation', 'the image is encrypted');
  const virtualBytes = facts['virtual-size'];
  const allocatedBytes = facts['actual-size'];
  if (typeof virtualBytes !== 'number' || typeof allocatedBytes !== 'number')
    throw new Problem('validation', 'qemu-img does not tell the size of the image');
  return { virtualBytes, allocatedBytes };
}

/** A device that has no room says so only to who writes past the page cache. */
async function cacheFor(path: string): Promise<readonly string[]> {
  return (await driverAt(path)) === 'host_device' ? ['-t', 'none'] : [];
}

/** An empty qcow2 file. */
export async function createBlank(path: string, bytes: number): Promise<void> {
  await runCommand('qemu-img', ['create', '-q', '-f', 'qcow2', path, String(bytes)]);
}

/** A qcow2 file that starts as the content of `base` (given relative to its own folder) and takes all writes. */
export async function createOverlay(path: string, base: string, bytes: number): Promise<void> {
  await runCommand('qemu-img', ['create', '-q', '-f', 'qcow2', '-F', 'qcow2', '-b', base, path, String(bytes)]);
}

/** A plain qcow2 copy of an image, whatever features the original used. */
export async function convertImage(from: string, format: ImageFormat, to: string, signal: AbortSignal): Promise<void> {
  const cache = await cacheFor(to);
  await runCommand('nice', ['-n', '5', 'qemu-img', 'convert', ...cache, '-f', format, '-O', 'qcow2', from, to], {
    timeoutMs: longMs,
    signal,
  });
}

/** A compressed qcow2 copy of a qcow2 file and what is below it; it depends on nothing. */
export async function convertCompressed(from: string, to: string, signal: AbortSignal): Promise<void> {
  await runCommand('nice', ['-n', '5', 'qemu-img', 'convert', '-c', '-f', 'qcow2', '-O', 'qcow2', from, to], { timeoutMs: longMs, signal });
}

/** Grows a qcow2 file. */
export async function growImage(path: string, bytes: number): Promise<void> {
  await runCommand('qemu-img', ['resize', '-q', '-f', 'qcow2', path, String(bytes)]);
}

/** Writes everything in an overlay into its base. The overlay is left as it was, so that this may be cut and repeated. */
export async function commitOverlay(overlay: string, signal: AbortSignal): Promise<void> {
  const cache = await cacheFor(overlay);
  await runCommand('nice', ['-n', '5', 'qemu-img', 'commit', '-q', '-d', ...cache, '-f', 'qcow2', overlay], { timeoutMs: longMs, signal });
}
