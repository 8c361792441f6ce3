import { toProblem } from '@virt8ra/contract/plain';
import { artifactSource } from '../link/artifact-source.js';
import type { Log } from '../log.js';
import { downloadImage, type ImageDownload } from '../storage/image-download.js';
import type { MoverCredentials, MoverNotice } from '../transfer/mover-port.js';
import type { PassCommands } from './passes.js';

export interface FetchConfig {
  readonly image: ImageDownload;
  /** URL of the control plane's agents' port. */
  readonly server: string;
  readonly credentials: MoverCredentials;
}

export interface FetchRun {
  readonly config: FetchConfig;
  readonly commands: Pick<PassCommands, 'signal'>;
  readonly log: Log;
  readonly notify: (notice: MoverNotice) => void;
}

/** Fetches an image from the control plane; the last notice is `finished`, `aborted` or `failed`. Another run goes on where this one was. */
export async function runFetch({ config, commands, log, notify }: FetchRun): Promise<void> {
  const { image, server, credentials } = config;
  const source = artifactSource(() => ({ server, ...credentials }));
  try {
    await downloadImage(image, source, commands.signal, log);
    notify({ type: 'finished', roots: [] });
  } catch (error) {
    if (commands.signal.aborted) return notify({ type: 'aborted' });
    const { kind, message } = toProblem(error);
    notify({ type: 'failed', code: kind, message });
  }
}
