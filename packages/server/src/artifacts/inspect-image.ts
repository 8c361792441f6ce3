import type { FileHandle } from 'node:fs/promises';
import { Problem } from '@virt8ra/contract';
import type { Artifact, ImageLimits } from './artifact.js';
import { foreignFormat } from './foreign-format.js';
import { qcow2Magic, readQcow2Header } from './qcow2-header.js';
import { checkWithQemuImg, hasQemuImg } from './qemu-img.js';

/**
 * Decides whether a stranger's file may become a disk, and as what. Without a declared format only qcow2 is accepted: a raw disk has no
 * mark of its own, so that its owner must say so. Raises `validation` with the reason.
 */
export async function inspectImage(
  file: FileHandle,
  declared: Artifact['format'] | undefined,
  limits: ImageLimits,
): Promise<Pick<Artifact, 'format' | 'virtualSizeBytes' | 'fileBytes'>> {
  const { size: fileBytes } = await file.stat();
  if (fileBytes === 0) throw new Problem('validation', 'the image is empty');
  if (fileBytes > limits.maxImageBytes) {
    throw new Problem(
      'validation',
      `the image has ${fileBytes} bytes, more than the ${limits.maxImageBytes} this control plane accepts (artifacts.maxImageGB)`,
    );
  }
  const start = Buffer.alloc(4);
  await file.read(start, 0, 4, 0);
  const isQcow2 = start.equals(qcow2Magic);
  if (declared !== 'raw' && isQcow2) {
    const { virtualSizeBytes } = await readQcow2Header(file, fileBytes, limits.maxVirtualBytes);
    if (hasQemuImg()) await checkWithQemuImg(file, { virtualSizeBytes });
    return { format: 'qcow2', virtualSizeBytes, fileBytes };
  }
  const foreign = await foreignFormat(file, fileBytes);
  if (foreign !== undefined) {
    throw new Problem(
      'validation',
      `the image is ${foreign}, not ${declared ?? 'qcow2'}; qcow2 and raw are accepted. Convert it: qemu-img convert -O qcow2 IN OUT`,
    );
  }
  if (declared !== 'raw') {
    throw new Problem('validation', `the image is not qcow2${declared === undefined ? '; if it is a raw disk, say so (format: raw)' : ''}`);
  }
  if (fileBytes % 512 !== 0) throw new Problem('validation', `a raw disk is a multiple of 512 bytes; this file has ${fileBytes}`);
  if (fileBytes > limits.maxVirtualBytes) {
    throw new Problem(
      'validation',
      `the disk has ${fileBytes} bytes, more than the ${limits.maxVirtualBytes} this control plane accepts (artifacts.maxVirtualGB)`,
    );
  }
  return { format: 'raw', virtualSizeBytes: fileBytes, fileBytes };
}
