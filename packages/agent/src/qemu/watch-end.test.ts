import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { Problem } from '@virt8ra/contract';
import { describe, expect, it } from 'vitest';
import { readProcessIdentity } from '../system/process-identity.js';
import type { Monitor } from './monitor.js';
import { watchEnd } from './watch-end.js';

describe('the end of a guest’s process', () => {
  it('is told when the process is gone, not when its sockets are', async () => {
    const child = spawn('sleep', ['60'], { stdio: 'ignore' });
    const exited = once(child, 'exit');
    try {
      const process = await readProcessIdentity(child.pid ?? 0);
      if (process === undefined) throw new Error('the process is not to be seen');
      const monitor: Monitor = {
        run: async () => await Promise.reject(new Problem('unavailable', 'QEMU is gone')),
        onEvent: () => () => {},
        closed: Promise.resolve(),
        close: () => {},
      };
      let looks = 0;
      const told = watchEnd(
        { process, monitor },
        () => true,
        () => {
          looks += 1;
        },
      );
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(looks).toBe(0);
      child.kill('SIGKILL');
      await told;
      expect(looks).toBe(1);
    } finally {
      child.kill('SIGKILL');
      await exited;
    }
  });
});
