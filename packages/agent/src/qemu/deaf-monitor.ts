import { Problem } from '@virt8ra/contract';
import { isAlive, type ProcessIdentity } from '../system/process-identity.js';
import type { Monitor } from './monitor.js';

const lookMs = 2_000;

/**
 * The monitor of a guest whose sockets somebody removed, such as a tool that cleans /tmp: its process runs on and cannot be spoken to any
 * more, only be ended. Raises Problem unavailable for every command.
 */
export function deafMonitor(process: ProcessIdentity): Monitor {
  let timer: NodeJS.Timeout | undefined;
  let over = (): void => {};
  const closed = new Promise<void>((resolve) => {
    over = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  const look = async () => {
    if (await isAlive(process)) timer = setTimeout(() => void look(), lookMs).unref();
    else over();
  };
  void look();
  return {
    run: async () => {
      throw new Problem(
        'unavailable',
        `the sockets of the guest’s process ${process.pid} were removed, so that it runs on and cannot be spoken to; restart it to have it back`,
      );
    },
    onEvent: () => () => {},
    closed,
    close: () => over(),
  };
}
