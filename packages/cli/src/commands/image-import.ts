import { open } from 'node:fs/promises';
import { type DiskFormat, type ImageImportSpec, imageImport, Problem } from '@virt8ra/contract';
import { awaitGoal, goalFromText } from '../await-resource.js';
import { secondsOfFlag } from '../duration-flag.js';
import { createLiveLine, type LiveLine } from '../output/live-line.js';
import { addressOf, type Session, type Target } from '../session.js';
import { digestOfFile, measured, sendFile, sizeOfFile } from './file-content.js';

export interface ImportFlags {
  readonly file?: string;
  readonly url?: string;
  readonly sha256?: string;
  readonly arch: 'amd64' | 'arm64';
  readonly boot?: 'UEFI' | 'BIOS';
  readonly format?: DiskFormat;
  readonly initializer?: 'none' | 'cloudinit-22';
  readonly detach?: boolean;
  readonly timeout?: string;
}

/**
 * Brings a disk in as image NAME, from a file (whose digest is computed here) or from a URL. Repeating it after a cut goes on where it
 * stopped. Ends when the image is there; with `detach` when the bytes are sent or the fetch is ordered.
 */
export async function imageImportRun(session: Session, name: string, flags: ImportFlags): Promise<void> {
  const { terminal } = session;
  const timeoutSeconds = secondsOfFlag('--timeout', flags.timeout);
  if ((flags.file === undefined) === (flags.url === undefined))
    throw new Problem('invalid-request', 'give either --file PATH or --url URL');
  const target: Target = { kind: imageImport, address: addressOf(session, imageImport, name) };
  const line = createLiveLine(terminal);
  try {
    const source = flags.file === undefined ? urlSource(flags) : await fileSource(session, flags.file, flags, line);
    const spec: ImageImportSpec = {
      source,
      cpuArchitecture: flags.arch,
      ...(flags.boot === undefined ? {} : { boot: flags.boot }),
      ...(flags.format === undefined || flags.format === 'qcow2' ? {} : { format: flags.format }),
      ...(flags.initializer === undefined ? {} : { initializer: flags.initializer }),
    };
    const { resource } = await session.patientClient.put(imageImport, target.address, { spec });
    const phase = resource.status?.phase;
    const awaitsContent = phase === undefined || phase === 'waiting-for-content' || phase === 'receiving';
    if (flags.file !== undefined && awaitsContent) await sendFile(session, target, flags.file, line);
    if (flags.detach !== true) {
      await awaitGoal(session, target, goalFromText('phase=done'), {
        timeoutSeconds,
        onSighting: ({ resource: seen, progress }) => {
          const status = seen?.status as { phase?: string; receivedBytes?: number; totalBytes?: number } | undefined;
          if (progress !== undefined) line.show(progress);
          else if (status?.phase !== undefined) {
            line.show(measured(status.phase, status.receivedBytes ?? 0, status.totalBytes ?? 0, undefined, terminal.now()));
          }
        },
      });
    }
  } finally {
    line.end();
  }
  const made = flags.detach === true ? `image-import/${name} under way` : `image/${name} ready`;
  terminal.out(session.format === 'name' ? `image/${name}\n` : `${made}\n`);
}

function urlSource(flags: ImportFlags): ImageImportSpec['source'] {
  if (flags.sha256 === undefined) throw new Problem('invalid-request', 'a URL needs --sha256: what arrives is checked against it');
  return { url: flags.url ?? '', sha256: flags.sha256.toLowerCase() };
}

async function fileSource(session: Session, path: string, flags: ImportFlags, line: LiveLine): Promise<ImageImportSpec['source']> {
  const sizeBytes = await sizeOfFile(path);
  if ((flags.format ?? 'qcow2') === 'qcow2' && !(await isQcow2(path))) {
    throw new Problem('validation', `${path} is not a qcow2 disk; when it is another one, say so with --format raw, vmdk, vhdx or vhd`);
  }
  const sha256 = await digestOfFile(session.terminal, path, sizeBytes, line);
  if (flags.sha256 !== undefined && flags.sha256.toLowerCase() !== sha256) {
    throw new Problem('validation', `${path} is not the file you meant: its sha256 is ${sha256}`);
  }
  return { upload: { sizeBytes, sha256 } };
}

async function isQcow2(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return bytesRead === 4 && buffer.toString('latin1') === 'QFI\u00fb';
  } finally {
    await file.close();
  }
}
