import { dirname, join } from 'node:path';
import { toProblem } from '@virt8ra/contract/plain';
import { makeDirectory } from '../disk/atomic-file.js';
import type { Log } from '../log.js';
import type { MoverNotice } from '../transfer/mover-port.js';
import { digestExport } from './digest.js';
import { openLocalExport, settleEarlierExport } from './local-export.js';
import { allocationContext } from './nbd/extents.js';
import type { PassCommands } from './passes.js';

export interface DigestConfig {
  readonly file: string;
  /** Name of the socket, in a folder of its own. */
  readonly socketDirectory: string;
  readonly bytesPerSecond?: number;
}

export interface DigestRun {
  readonly config: DigestConfig;
  readonly commands: Pick<PassCommands, 'signal'>;
  readonly log: Log;
  readonly notify: (notice: MoverNotice) => void;
}

/** Reads a frozen qcow2 image once; the last notice is `finished` with its root digest, `aborted` or `failed`. */
export async function runDigest({ config, commands, log, notify }: DigestRun): Promise<void> {
  const { file, socketDirectory, bytesPerSecond } = config;
  try {
    await makeDirectory(socketDirectory);
    const socket = join(socketDirectory, 'd');
    await settleEarlierExport(socket);
    const opened = await openLocalExport({ access: 'read', files: [file] }, socket, [allocationContext]);
    try {
      const table = await digestExport(opened.client, {
        signal: commands.signal,
        scratchDirectory: dirname(file),
        ...(bytesPerSecond === undefined ? {} : { bytesPerSecond }),
      });
      const root = table.root() ?? '';
      table.close();
      notify({ type: 'finished', roots: [root] });
    } finally {
      await opened.close();
    }
  } catch (error) {
    if (commands.signal.aborted) return notify({ type: 'aborted' });
    const problem = toProblem(error);
    log.error('an image cannot be read', { file, code: problem.kind, problem: problem.message });
    notify({ type: 'failed', code: problem.kind, message: problem.message });
  }
}
