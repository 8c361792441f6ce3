import { Problem } from '@virt8ra/contract';
import type { Log } from '../log.js';
import type { MoverPort } from './mover-port.js';

/** Movers as child processes. */
export function moverProcesses(_log: Log): MoverPort {
  const absent = () => new Problem('unsupported', 'this build of the agent has no mover');
  return {
    send: () => {
      throw absent();
    },
    receive: () => {
      throw absent();
    },
    digest: async () => {
      throw absent();
    },
  };
}
