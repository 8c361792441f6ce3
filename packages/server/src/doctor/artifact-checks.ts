import { access, constants, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Finding, found } from '@virt8ra/contract';
import type { Artifact } from '../artifacts/artifact.js';
import { hasQemuImg } from '../artifacts/qemu-img.js';
import type { Config } from '../config.js';
import { errorCode, readText } from '../files/atomic-file.js';
import { checkRoom } from './machine-checks.js';

const named = 5;

/** The artifact store: writable, with room, and each artifact as long as its description says. Content is not read: that would take hours. */
export async function checkArtifacts({ artifacts }: Config): Promise<readonly Finding[]> {
  const { directory } = artifacts;
  const images = join(directory, 'images');
  const names = await readdir(images).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (names === undefined) return [found('artifacts/store', 'pass', `${directory} is made at the first start`)];
  const writable = await access(images, constants.W_OK).then(
    () => true,
    () => false,
  );
  if (!writable) return [found('artifacts/store', 'fail', `${images} cannot be written`, 'chown it to the user that the server runs as')];
  return [await checkContents(images, names), await checkRoom('artifacts/room', directory), checkTools()];
}

async function checkContents(images: string, names: readonly string[]): Promise<Finding> {
  const there = new Set(names);
  const digests = [...new Set(names.map((name) => name.slice(0, 64)))].filter((name) => /^[0-9a-f]{64}$/.test(name));
  const broken: string[] = [];
  let bytes = 0;
  for (const digest of digests) {
    const described = await descriptionOf(join(images, `${digest}.json`));
    const size = there.has(digest) ? (await stat(join(images, digest))).size : undefined;
    // A description alone is a publication that was cut: it is finished or collected.
    if (size === undefined) continue;
    if (described?.sha256 === digest && described.fileBytes === size) bytes += size;
    else broken.push(digest.slice(0, 12));
  }
  if (broken.length === 0) return found('artifacts/store', 'pass', `${digests.length} artifacts, ${Math.round(bytes / 1e6)} MB`);
  const list = `${broken.slice(0, named).join(', ')}${broken.length > named ? ` and ${broken.length - named} more` : ''}`;
  return found(
    'artifacts/store',
    'fail',
    `${broken.length} of ${digests.length} artifacts are not as their description says: ${list}`,
    'restore them from the backup of the artifact directory, or import the images anew; what was made of them already is at its hosts',
  );
}

async function descriptionOf(path: string): Promise<Partial<Artifact> | undefined> {
  try {
    return JSON.parse((await readText(path)) ?? 'null') as Partial<Artifact> | undefined;
  } catch {
    return undefined;
  }
}

function checkTools(): Finding {
  return hasQemuImg()
    ? found('artifacts/qemu-img', 'pass', 'imported qcow2 disks are walked through by qemu-img as well')
    : found(
        'artifacts/qemu-img',
        'warn',
        'qemu-img is not installed: of qcow2 disks only the headers are checked',
        'apt-get install qemu-utils',
      );
}
